// The controls: what is asked of the server, and how answers are drawn. Moved ones are remembered by the browser.

import { PARTS } from "./draw.js";

const ASKED = ["bbox_threshold", "nms_threshold", "max_persons"]; // sent once they have been moved
const STREAMED = ["detect_every", "smooth"];
const LOOK = ["threshold", "width", "boxes", "labels", "dark", "each", "mirror"];
const UNTOUCHED = { bottom_up: "0.05" }; // threshold of drawing by kind of network; otherwise the page's own

export const byId = (id) => document.getElementById(id);

export class Panel {
  // `onAsk`: an option of the request has changed; `onLook`: one of the drawing.
  constructor(onAsk, onLook) {
    this.moved = JSON.parse(localStorage.getItem("moved") ?? "{}");
    byId("parts").append(...Object.keys(PARTS).map(partBox));
    for (const name of Object.keys(PARTS)) this.connect(`part-${name}`, onLook);
    for (const name of LOOK) this.connect(name, onLook);
    for (const name of [...ASKED, ...STREAMED]) this.connect(name, onAsk);
  }

  connect(id, changed) {
    const control = byId(id);
    if (id in this.moved) setValue(control, this.moved[id]);
    this.label(control);
    control.addEventListener("input", () => {
      this.moved[id] = valueOf(control);
      localStorage.setItem("moved", JSON.stringify(this.moved));
      this.label(control);
      changed();
    });
    control.closest("label")?.addEventListener("dblclick", (event) => {
      if (control.type !== "range") return;
      event.preventDefault();
      delete this.moved[id]; // back to the default
      localStorage.setItem("moved", JSON.stringify(this.moved));
      control.value = control.defaultValue;
      this.label(control);
      changed();
    });
  }

  label(control) {
    const output = control.closest("label")?.querySelector("output");
    if (!output) return;
    const isDefault = ASKED.includes(control.id) && !(control.id in this.moved);
    output.value = isDefault ? "default" : control.id === "detect_every" ? `${control.value} frames` : control.value;
  }

  // Adapts the controls to a network of v1/models and its keypoint set.
  fit(model, set) {
    const bottomUp = model.kind === "bottom_up", threshold = byId("threshold");
    byId("nms_threshold").disabled = bottomUp; // such a network compares poses
    byId("detect_every").disabled = bottomUp;
    if (!("threshold" in this.moved)) threshold.value = UNTOUCHED[model.kind] ?? threshold.defaultValue;
    this.label(threshold);
    const parts = new Set(set?.strokes.map(({ part }) => part) ?? ["body"]);
    for (const [name, looks] of Object.entries(PARTS)) {
      byId(`part-${name}`).closest("label").hidden = !looks.some((look) => parts.has(look));
    }
    byId("parts").hidden = parts.size <= 2; // a body only
  }

  query(model, isStream) {
    const names = [...ASKED.filter((name) => name in this.moved && !byId(name).disabled), ...(isStream ? STREAMED : [])];
    const values = names.filter((name) => !byId(name).disabled).map((name) => [name, valueOf(byId(name))]);
    return new URLSearchParams([["model", model], ...values]);
  }

  look() {
    const parts = Object.entries(PARTS).filter(([name]) => byId(`part-${name}`).checked);
    const values = Object.fromEntries(LOOK.map((name) => [name, valueOf(byId(name))]));
    return { ...values, parts: new Set(parts.flatMap(([, looks]) => looks)) };
  }
}

const valueOf = (control) => (control.type === "checkbox" ? control.checked : Number(control.value));

function setValue(control, value) {
  if (control.type === "checkbox") control.checked = value;
  else control.value = value;
}

function partBox(name) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, id: `part-${name}` });
  const text = Object.assign(document.createElement("span"), { textContent: name[0].toUpperCase() + name.slice(1) });
  label.append(input, text);
  return label;
}

// A bar of the stages in proportion, and below it their names and milliseconds.
export function showTimes(times) {
  const make = (tag, className, textContent = "") => Object.assign(document.createElement(tag), { className, textContent });
  const bar = make("div", "spans"), list = make("div", "names");
  for (const [name, ms] of Object.entries(times)) {
    const span = make("i", name);
    span.style.flexGrow = ms;
    bar.append(span);
    list.append(make("span", name, `${name} ${ms.toFixed(ms < 10 ? 1 : 0)} ms`));
  }
  byId("times").replaceChildren(...(list.childElementCount ? [bar, list] : []));
}

export function connectTheme() {
  const root = document.documentElement, kept = localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  byId("theme").onclick = () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  };
}
