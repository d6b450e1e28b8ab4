// Pictures, films and cameras as bitmaps and as bytes for the server.

const SENT = ["image/jpeg", "image/png", "image/webp", "image/bmp"];
const FRAME_SIDE = 1280; // longest side of a frame that is sent
const FRAME_QUALITY = 0.85;

// Returns {bitmap, blob, name}. The bytes go to the server as they are; formats that it does not know, as JPEG.
export async function openPicture(file, name) {
  const bitmap = await createImageBitmap(file).catch(() => null); // upright, like the server's answer
  const blob = bitmap && file.type && !SENT.includes(file.type) ? await jpegOf(bitmap, bitmap.width, bitmap.height) : file;
  return { bitmap, blob, name };
}

function jpegOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(source, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: FRAME_QUALITY });
}

// A film or a camera. `frame()` resolves with {bitmap, blob, seconds}, or null at the end.
export class Film {
  static async open(file) {
    const video = element();
    video.src = URL.createObjectURL(file);
    video.loop = true;
    return Film.started(video, file.name);
  }

  static async camera() {
    const video = element();
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: FRAME_SIDE } }, audio: false });
    } catch (error) {
      throw new Error(`The camera is not available: ${error.message || error.name}.`);
    }
    return Film.started(video, "camera");
  }

  static async started(video, name) {
    try {
      await video.play();
    } catch {
      throw new Error(`This browser cannot play ${name}.`);
    }
    return new Film(video, name);
  }

  constructor(video, name) {
    this.video = video;
    this.name = name;
    this.isCamera = Boolean(video.srcObject);
    this.isPaused = false;
  }

  async frame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, FRAME_SIDE / Math.max(width, height));
    const seconds = this.isCamera ? performance.now() / 1000 : this.video.currentTime;
    const bitmap = await createImageBitmap(this.video, {
      resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale),
    });
    return { bitmap, seconds, blob: await jpegOf(bitmap, bitmap.width, bitmap.height) };
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    if (isPaused) this.video.pause();
    else this.video.play();
  }

  close() {
    this.video.pause();
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop(); // the camera's light goes out
    if (this.video.src) URL.revokeObjectURL(this.video.src);
  }
}

function element() {
  return Object.assign(document.createElement("video"), { muted: true, playsInline: true });
}
