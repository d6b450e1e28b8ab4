// Reads a list of JSON objects from stdin, checks the custom resources, and prints one problem per line.
// The packages' validators accept unknown fields. A proxy records the fields that a validator reads. A present field
// that was never read is unknown to the schema.
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const keda = "keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1";
const operator = "prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1";
const schemas = {
  "keda.sh/v1alpha1/ScaledObject": `${keda}ScaledObject.js`,
  "monitoring.coreos.com/v1/PodMonitor": `${operator}PodMonitor.js`,
  "monitoring.coreos.com/v1/PrometheusRule": `${operator}PrometheusRule.js`,
};

function watched(value, path, unread) {
  if (value === null || typeof value !== "object") return value;
  for (const key of Array.isArray(value) ? [] : Object.keys(value)) unread.add(`${path}.${key}`);
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "symbol") return target[key];
      unread.delete(`${path}.${key}`);
      return Array.isArray(target) && typeof target[key] === "function" ? target[key] : children(target, key, path, unread);
    },
    ownKeys(target) {  // the schema allows any key here
      for (const key of Reflect.ownKeys(target)) unread.delete(`${path}.${String(key)}`);
      return Reflect.ownKeys(target);
    },
  });
}

const cache = new WeakMap();
function children(target, key, path, unread) {
  const value = target[key];
  if (value === null || typeof value !== "object") return value;
  if (!cache.has(value)) cache.set(value, watched(value, `${path}.${String(key)}`, unread));
  return cache.get(value);
}

const modules = process.argv[2];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const kind = `${object.apiVersion}/${object.kind}`;
  if (!schemas[kind]) {
    console.log(`${kind}: no schema for this custom resource`);
    continue;
  }
  const { validate } = await import(pathToFileURL(join(modules, "@kubernetes-models", schemas[kind])));
  const unread = new Set();
  validate(watched(object, object.kind, unread));
  for (const error of validate.errors ?? []) {
    console.log(`${object.kind}${error.instancePath}: ${error.keyword} ${JSON.stringify(error.params)}`);
  }
  for (const field of unread) console.log(`${field}: unknown field`);
}
