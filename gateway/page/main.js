// The page: pictures, films and the camera in, drawn people out.

import { about, models, poses, Refused, sample, setToken, Stream } from "./api.js";
import { draw, nearest } from "./draw.js";
import { Film, openPicture } from "./media.js";
import { byId, connectTheme, Panel, showTimes } from "./panel.js";
import { connectSaving } from "./save.js";
import { Space } from "./space.js";

const SHOWN_SIDE = 2048; // longest side of the canvas in pixels
const SETTLE_MS = 150; // from the last move of a slider to the request

const canvas = byId("canvas"), context = canvas.getContext("2d");
const space = new Space(byId("space"));
const page = { sets: {}, models: [], source: null, picture: null, record: null, film: null, stream: null, choice: null };
const panel = new Panel(askSoon, paint);

function model() {
  return page.models.find(({ name }) => name === byId("model").value);
}

function setOf(record, key = "keypoint_set") {
  return page.sets[record?.[key]];
}

function look() {
  const chosen = panel.look();
  return { ...chosen, mirror: chosen.mirror && Boolean(page.film?.isCamera) };
}

function paint() {
  if (!page.picture) return;
  const scale = Math.min(1, SHOWN_SIDE / Math.max(page.picture.width, page.picture.height));
  const width = Math.round(page.picture.width * scale), height = Math.round(page.picture.height * scale);
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
    canvas.style.setProperty("--ratio", width / height);
  }
  draw(context, page.picture, page.record, setOf(page.record), look());
  const inSpace = setOf(page.record, "keypoint_set_3d");
  byId("space-section").hidden = !inSpace;
  if (inSpace) space.show(page.record, inSpace, look().each);
}

function show(record, times) {
  const started = performance.now();
  page.record = record;
  paint();
  showTimes({ ...times, draw: performance.now() - started });
  const count = record?.people.length ?? 0;
  const more = record?.persons_detected > count ? ` of ${record.persons_detected}` : "";
  say(record ? (count ? `${count}${more} ${count === 1 ? "person" : "people"}` : "Nobody found") : "");
  for (const id of ["save-json", "save-picture", "copy-curl"]) byId(id).disabled = !record;
}

// Screen readers read each new text aloud, so the same one is not set again.
function say(text) {
  if (byId("status").value !== text) byId("status").value = text;
}

function tell(error) {
  if (error?.name === "AbortError") return;
  byId("problem").hidden = !error;
  byId("problem").textContent = error?.message ?? "";
  if (error && !(error instanceof Refused)) console.error(error);
  if (error?.status === 401) askToken();
}

function askToken() {
  const dialog = byId("token-dialog");
  if (dialog.open) return;
  dialog.returnValue = ""; // which Escape leaves as it is
  dialog.showModal();
}

// Pictures: the newest request replaces the one before.
let request = new AbortController();

async function ask() {
  if (!page.source) return;
  request.abort();
  const own = (request = new AbortController());
  byId("busy").hidden = false;
  try {
    await needModels();
    const { record, times } = await poses(page.source.blob, panel.query(model().name), own.signal);
    tell(null);
    show(record, times);
  } catch (error) {
    if (own === request) {
      show(null, {});
      tell(error);
    }
  } finally {
    if (own === request) byId("busy").hidden = true;
  }
}

let settling;

function askSoon() {
  paint();
  clearTimeout(settling);
  if (!page.source && !page.film) return;
  settling = setTimeout(() => (page.film ? restart() : ask()), SETTLE_MS);
}

async function usePicture(opening, name) {
  const own = stop();
  const file = await opening;
  const source = await openPicture(file, name ?? file.name ?? "picture");
  if (own !== page.choice) return; // something else was chosen meanwhile
  page.source = source;
  page.picture = page.source.bitmap;
  byId("drop").classList.toggle("empty", !page.picture);
  page.record = null;
  paint();
  await ask();
}

// Films and cameras: one frame in flight; the frame that was answered is the one that is drawn.
async function useFilm(opening) {
  const own = stop();
  try {
    const film = await opening;
    if (own !== page.choice) return film.close();
    page.film = film;
    await needModels();
  } catch (error) {
    if (own !== page.choice) return;
    stop();
    return tell(error);
  }
  if (own !== page.choice) return;
  page.source = null;
  byId("drop").classList.remove("empty");
  byId("pause").hidden = byId("stream-section").hidden = false;
  byId("camera").setAttribute("aria-pressed", page.film.isCamera);
  restart();
}

function restart() {
  page.stream?.close();
  page.stream = new Stream(panel.query(model().name, true));
  run(page.film, page.stream);
}

async function run(film, stream) {
  let before = performance.now(), rate = 0, isShown = false;
  while (page.stream === stream) {
    try {
      await new Promise(requestAnimationFrame);
      if (film.isPaused && isShown) continue;
      const { bitmap, blob, seconds } = await film.frame();
      const { record, times } = await stream.ask(blob, seconds);
      if (page.stream !== stream) return;
      page.picture?.close?.();
      page.picture = bitmap;
      tell(null);
      show(record, times);
      isShown = true;
      rate = 0.9 * rate + 100 / (performance.now() - before);
      before = performance.now();
      byId("rate").textContent = `${rate.toFixed(0)} frames/s`;
    } catch (error) {
      if (page.stream !== stream) return;
      if (stream.failure) stop();
      tell(error);
    }
  }
}

// Ends what is shown or being opened. Returns the mark of the next choice.
function stop() {
  request.abort();
  page.stream?.close();
  page.film?.close();
  page.stream = page.film = null;
  byId("busy").hidden = byId("pause").hidden = byId("stream-section").hidden = true;
  byId("camera").setAttribute("aria-pressed", false);
  byId("pause").textContent = "Pause";
  byId("rate").textContent = "";
  tell(null);
  return (page.choice = {});
}

function use(file) {
  if (!file) return;
  if (file.type.startsWith("video/")) useFilm(Film.open(file));
  else usePicture(file).catch(tell);
}

function connectSources() {
  const drop = byId("drop"), file = byId("file");
  byId("open").onclick = () => file.click();
  drop.onclick = () => drop.classList.contains("empty") && file.click();
  file.onchange = () => {
    use(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  };
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    use(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => use(event.clipboardData.files[0]));
  byId("camera").onclick = () => (page.film?.isCamera ? stop() : useFilm(Film.camera()));
  byId("pause").onclick = () => {
    page.film.pause(!page.film.isPaused);
    byId("pause").textContent = page.film.isPaused ? "Go on" : "Pause";
  };
}

function connectHint() {
  const hint = byId("hint");
  canvas.onpointerleave = () => { hint.hidden = true; };
  canvas.onpointermove = canvas.onpointerdown = (event) => {
    const area = canvas.getBoundingClientRect(), chosen = look();
    const width = page.picture?.width ?? 1, scale = width / area.width; // picture pixels in one of the screen
    const across = (event.clientX - area.left) * scale, x = chosen.mirror ? width - across : across;
    const found = nearest(page.record, chosen, setOf(page.record), x, (event.clientY - area.top) * scale, 14 * scale);
    hint.hidden = !found;
    if (!found) return;
    hint.textContent = `${found.name.replaceAll("_", " ")} ${found.score.toFixed(2)} · ${found.id}`;
    const outer = byId("drop").getBoundingClientRect();
    hint.style.left = `${Math.min(event.clientX - outer.left + 14, outer.width - hint.offsetWidth - 4)}px`;
    hint.style.top = `${Math.max(event.clientY - outer.top - 34, 2)}px`;
  };
}

function showSamples(names) {
  byId("samples").replaceChildren(...names.map((name) => {
    const button = Object.assign(document.createElement("button"), { type: "button", title: name });
    button.append(Object.assign(new Image(), { src: `samples/${encodeURIComponent(name)}`, alt: `sample ${name}`, loading: "lazy" }));
    button.onclick = () => usePicture(sample(name), name).catch(tell);
    return button;
  }));
}

function chooseModel() {
  const chosen = model(), count = `${chosen.keypoints} keypoints`;
  byId("about-model").textContent = chosen.keypoint_set_3d ? `${count}, 3-D` : chosen.kind === "bottom_up" ? `${count}, bottom-up` : count;
  panel.fit(chosen, page.sets[chosen.keypoint_set]);
}

async function loadModels() {
  const { models: served, keypoint_sets: sets } = await models();
  Object.assign(page, { models: served, sets });
  byId("model").replaceChildren(...served.map(({ name, network }) => {
    const text = name === "pose" ? `${network ?? name} (default)` : name.replace(/^pose_/, "");
    return new Option(text, name);
  }));
  chooseModel();
}

async function needModels() {
  if (!page.models.length) await loadModels();
}

async function start() {
  connectTheme();
  connectSources();
  connectHint();
  connectSaving(page, { model, query: () => panel.query(model().name), look, setOf, tell });
  byId("model").onchange = () => {
    chooseModel();
    askSoon();
  };
  byId("drop").classList.add("empty");
  byId("token-dialog").onclose = () => {
    if (!byId("token-dialog").returnValue) return; // cancelled
    setToken(byId("token").value);
    loadModels().then(() => {
      tell(null);
      askSoon();
    }, tell);
  };
  const { note, samples } = await about();
  byId("note").textContent = note;
  byId("note").hidden = !note;
  showSamples(samples);
  await loadModels();
}

start().catch(tell);
