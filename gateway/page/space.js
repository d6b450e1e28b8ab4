// The people in space: a canvas that turns with the pointer and the arrow keys.

import { personColor } from "./draw.js";

const SIDES = { left: "#3ca0ff", right: "#ff8a3c", center: "#5fdc86" };
const APART_M = 1.2; // people stand side by side: their places are not known
const FACING = { turn: 0, tilt: 0.12, zoom: 1 };

export class Space {
  constructor(canvas) {
    this.canvas = canvas;
    this.view = { ...FACING };
    this.people = [];
    canvas.onpointerdown = (event) => canvas.setPointerCapture(event.pointerId);
    canvas.onpointermove = (event) => {
      if (event.buttons) this.move(event.movementX * 0.01, event.movementY * 0.01);
    };
    canvas.ondblclick = () => this.reset();
    canvas.onwheel = (event) => {
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
    };
    canvas.onkeydown = (event) => this.key(event);
  }

  key(event) {
    const step = 0.15;
    const actions = {
      ArrowLeft: () => this.move(-step, 0), ArrowRight: () => this.move(step, 0), ArrowUp: () => this.move(0, -step),
      ArrowDown: () => this.move(0, step), "+": () => this.zoom(1.1), "-": () => this.zoom(1 / 1.1), Home: () => this.reset(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  move(turn, tilt) {
    this.view.turn += turn;
    this.view.tilt = Math.min(Math.max(this.view.tilt + tilt, -1.5), 1.5);
    this.paint();
  }

  zoom(factor) {
    this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 0.4), 5);
    this.paint();
  }

  reset() {
    this.view = { ...FACING };
    this.paint();
  }

  // `record`: an answer with keypoints_3d; `set`: its keypoint set in space; `each`: one colour a person.
  show(record, set, each) {
    this.set = set;
    this.each = each;
    this.people = record.people.map((person, row) => ({ ...person, id: person.track_id ?? row }));
    this.people.sort((a, b) => a.bbox[0] + a.bbox[2] - b.bbox[0] - b.bbox[2]);
    this.paint();
  }

  // Camera axes (x right, y down, z away) in metres -> canvas pixels and depth.
  project([x, y, z]) {
    const { turn, tilt, zoom } = this.view, { width, height } = this.canvas;
    const across = x * Math.cos(turn) + z * Math.sin(turn), away = z * Math.cos(turn) - x * Math.sin(turn);
    const down = y * Math.cos(tilt) + away * Math.sin(tilt), depth = away * Math.cos(tilt) - y * Math.sin(tilt);
    const wide = Math.max(this.people.length * APART_M, 2.2);
    const scale = (zoom * Math.min(width / wide, height / 2.5)) / (1 + depth / 9);
    return { x: width / 2 + across * scale, y: height * 0.46 + down * scale, depth };
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.lineCap = "round";
    this.paintFloor(context);
    const lines = this.people.flatMap((person, place) => this.linesOf(person, place));
    lines.sort((a, b) => b.depth - a.depth); // far ones first
    for (const { from, to, color } of lines) {
      context.lineWidth = 5;
      line(context, from, to, color);
    }
  }

  paintFloor(context) {
    context.lineWidth = 1;
    const reach = Math.max(this.people.length * APART_M, 2) / 2, floor = 0.95;
    for (let step = -4; step <= 4; step++) {
      const at = (step / 4) * reach;
      line(context, this.project([at, floor, -reach]), this.project([at, floor, reach]), "#8895aa66");
      line(context, this.project([-reach, floor, at]), this.project([reach, floor, at]), "#8895aa66");
    }
  }

  linesOf(person, place) {
    const shift = (place - (this.people.length - 1) / 2) * APART_M;
    const points = person.keypoints_3d.map(([x, y, z]) => this.project([x + shift, y, z]));
    return this.set.edges.map(([a, b]) => ({
      from: points[a],
      to: points[b],
      depth: points[a].depth + points[b].depth,
      color: this.each ? personColor(person.id) : SIDES[sideOf(this.set.sides[a], this.set.sides[b])],
    }));
  }
}

function sideOf(a, b) {
  if (a === b || b === "center") return a;
  return a === "center" ? b : "center";
}

function line(context, from, to, color) {
  context.strokeStyle = color;
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}
