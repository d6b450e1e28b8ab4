// What a visitor takes away: the answer as JSON, the drawn picture, and the request as a curl line.

import { credentials } from "./api.js";
import { draw } from "./draw.js";
import { byId } from "./panel.js";

export function connectSaving(page, { query, look, setOf, tell }) {
  byId("save-json").onclick = () => {
    const text = JSON.stringify(page.record, null, 1);
    save(new Blob([text], { type: "application/json" }), "people.json");
  };
  byId("save-picture").onclick = async () => {
    const { width, height } = page.picture; // all pixels, although the page may show fewer
    const full = new OffscreenCanvas(width, height);
    draw(full.getContext("2d"), page.picture, page.record, setOf(page.record), look());
    save(await full.convertToBlob({ type: "image/png" }), "people.png");
  };
  byId("copy-curl").onclick = async () => {
    const url = new URL(`v1/poses?${query()}`, location.href);
    const name = page.source?.name ?? "frame.jpg";
    const headers = Object.entries(credentials()).map(([key, value]) => `-H ${quoted(`${key}: ${value}`)}`);
    const text = ["curl", ...headers, "--data-binary", quoted(`@${name}`), quoted(url.href)].join(" ");
    try {
      await navigator.clipboard.writeText(text);
      byId("status").value = "Copied";
    } catch {
      tell(new Error(text)); // a browser that does not let pages copy
    }
  };
}

// For a shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
