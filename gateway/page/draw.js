// Drawing of people on a canvas, by the strokes that the gateway names for their keypoint set.

export const PARTS = { body: ["body", "head"], hands: ["hand"], face: ["face"], feet: ["foot"] };

// Left is cool, right is warm, as in the command's drawings.
const COLORS = {
  body: { left: "#3ca0ff", right: "#ff8a3c", center: "#5fdc86" },
  head: { left: "#3ca0ff", right: "#ff8a3c", center: "#5fdc86" },
  foot: { left: "#46dce6", right: "#ffc83c", center: "#5fdc86" },
  hand: { left: "#b07bff", right: "#ff5a78", center: "#e05ac8" },
  face: { left: "#ffe95a", right: "#ffe95a", center: "#ffe95a" },
};
const WIDTHS = { body: 1, foot: 0.7, head: 0.45, hand: 0.25, face: 0.2 };
const RIM = "#11151dcc";

export function personColor(id) {
  return `hsl(${(id * 137.5) % 360} 85% 62%)`; // the golden angle keeps neighbours apart
}

// Lines and dots of a keypoint set; without one, a dot for each keypoint.
export function strokesOf(set, count) {
  return set?.strokes ?? Array.from({ length: count }, (_, row) => ({ part: "body", side: "center", rows: [row] }));
}

// Draws the picture (or black) and its people. `look`: threshold, width, parts, boxes, labels, dark, each, mirror.
export function draw(context, picture, record, set, look) {
  const { width, height } = context.canvas;
  const scale = width / (picture.width || width);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.setTransform(look.mirror ? -scale : scale, 0, 0, scale, look.mirror ? width : 0, 0);
  if (!look.dark) context.drawImage(picture, 0, 0);
  context.lineCap = "round";
  const people = [...(record?.people ?? [])].map((person, row) => ({ person, row }));
  people.sort((a, b) => size(a.person) - size(b.person)); // small ones below large ones
  for (const { person, row } of people) drawPerson(context, person, row, set, look, scale);
  for (const { person, row } of people) if (look.labels) drawLabel(context, person, row, look, scale);
}

const size = ({ bbox }) => Math.sqrt(Math.max(bbox[2] - bbox[0], 1) * Math.max(bbox[3] - bbox[1], 1));
const idOf = (person, row) => person.track_id ?? row;

function drawPerson(context, person, row, set, look, scale) {
  const line = Math.max((size(person) / 75) * look.width, 0.8 / scale);
  const own = look.each ? personColor(idOf(person, row)) : null;
  if (look.boxes) drawBox(context, person.bbox, own ?? "#ebebeb", Math.max(line / 2, 1 / scale));
  const isSeen = (index) => person.keypoints[index][2] >= look.threshold && person.keypoints[index].every(Number.isFinite);
  const shown = strokesOf(set, person.keypoints.length).filter(({ part, rows }) => look.parts.has(part) && rows.every(isSeen));
  const paths = shown.map(({ part, side, rows }) => ({
    path: pathOf(rows.map((index) => person.keypoints[index]), line * WIDTHS[part]),
    width: Math.max(line * WIDTHS[part], 0.7 / scale),
    color: own ?? COLORS[part][side],
    isDot: rows.length === 1,
  }));
  context.strokeStyle = context.fillStyle = RIM;
  for (const { path, width, isDot } of paths) {
    if (width * scale < 1.2) continue; // a rim would hide thin lines
    context.lineWidth = width + 2.4 / scale;
    if (!isDot) context.stroke(path);
  }
  for (const { path, width, color, isDot } of paths) {
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = width;
    if (isDot) context.fill(path);
    else context.stroke(path);
  }
}

function pathOf(points, width) {
  const path = new Path2D();
  if (points.length === 1) path.arc(points[0][0], points[0][1], Math.max(width * 0.85, 0.9), 0, 2 * Math.PI);
  else points.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
  return path;
}

function drawBox(context, [left, top, right, bottom], color, width) {
  for (const [style, line] of [[RIM, width * 2.5], [color, width]]) {
    context.strokeStyle = style;
    context.lineWidth = line;
    context.strokeRect(left, top, right - left, bottom - top);
  }
}

function drawLabel(context, person, row, look, scale) {
  const id = idOf(person, row), text = `${id}`, height = Math.min(Math.max(size(person) * 0.09, 12 / scale), 30 / scale);
  context.save();
  const x = look.mirror ? person.bbox[2] : person.bbox[0];
  context.translate(x, Math.max(person.bbox[1] - height * 1.4, 0));
  if (look.mirror) context.scale(-1, 1);
  context.font = `600 ${height}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.fillStyle = RIM;
  context.fillRect(0, 0, context.measureText(text).width + height * 0.6, height * 1.35);
  context.fillStyle = personColor(id);
  context.fillText(text, height * 0.3, height * 0.2);
  context.restore();
}

// The drawn keypoint nearest to (x, y) in picture pixels and not farther than `reach`, or null.
export function nearest(record, look, set, x, y, reach) {
  const rows = new Set(strokesOf(set, 0).filter(({ part }) => look.parts.has(part)).flatMap((stroke) => stroke.rows));
  let best = null;
  (record?.people ?? []).forEach((person, row) => person.keypoints.forEach(([px, py, score], index) => {
    const away = Math.hypot(px - x, py - y);
    if (away <= reach && score >= look.threshold && rows.has(index)) {
      reach = away;
      best = { id: idOf(person, row), name: set?.keypoint_names[index] ?? `keypoint ${index}`, score, x: px, y: py };
    }
  }));
  return best;
}
