// Prints the people in a picture: node examples/node/picture.mjs photo.jpg [HOST:8001]
// Plain gRPC, from the protocol's own file. A BYTES tensor is the length as four bytes, little endian, and the content.
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [picture, url = "localhost:8001"] = process.argv.slice(2);
const proto = new URL("../../docs/kserve_v2.proto", import.meta.url).pathname;
const { inference } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true }));
const client = new inference.GRPCInferenceService(url, grpc.credentials.createInsecure());

const content = readFileSync(picture), length = Buffer.alloc(4);
length.writeUInt32LE(content.length);
const request = {
  model_name: "pose",
  inputs: [{ name: "image", datatype: "BYTES", shape: [1] }],
  raw_input_contents: [Buffer.concat([length, content])],
};
client.ModelInfer(request, { deadline: Date.now() + 30_000 }, (error, answer) => {
  if (error) throw error;
  const tensors = Object.fromEntries(answer.outputs.map(({ name, shape }, index) => {
    const bytes = answer.raw_output_contents[index]; // FP32, except for persons_detected
    const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    return [name, { shape: shape.map(Number), values }];
  }));
  const [people, keypoints] = tensors.keypoints.shape;
  for (let row = 0; row < people; row++) {
    const [x, y] = tensors.keypoints.values.slice(row * keypoints * 2);
    console.log(`person ${tensors.bbox_scores.values[row].toFixed(2)}: nose at ${x.toFixed(0)}, ${y.toFixed(0)}`);
  }
});
