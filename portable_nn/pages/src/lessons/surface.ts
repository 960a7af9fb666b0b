// The graph of f over the plane, seen from any side, on a canvas.

import { thinned } from "./chart";
import type { Point } from "./dynamics";

export interface View {
  /** In degrees: from which side, and from how high. */
  turn: number;
  tilt: number;
}

export interface Scene {
  payoff: (x: number, y: number) => number;
  /** The plane from -reach to reach is shown. */
  reach: number;
  /** Points (x, y), one after the other. */
  path: Float64Array;
  equilibrium: Point | null;
  names: readonly [string, string];
}

type Pixel = readonly [number, number];

/** Cells of the mesh along a side. */
const MESH = 26;
/** The height of the surface, where a side of the plane is 2. */
const TALL = 0.62;
/** Near enough to the start to take hold of it, in pixels. */
export const NEAR = 24;
const MOST_POINTS = 4000;

/** Where points of space are on the canvas: x and y from -1 to 1, and the height. */
class Camera {
  private readonly sine: number;
  private readonly cosine: number;
  private readonly up: number;
  private readonly flat: number;
  private readonly scale: number;
  /** By how much all is moved down, so that the surface is in the middle. */
  private moved = 0;

  constructor(
    view: View,
    private readonly width: number,
    private readonly height: number,
  ) {
    const [turn, tilt] = [(view.turn * Math.PI) / 180, (view.tilt * Math.PI) / 180];
    [this.sine, this.cosine] = [Math.sin(turn), Math.cos(turn)];
    [this.flat, this.up] = [Math.sin(tilt), Math.cos(tilt)];
    this.scale = Math.min(width / 2.95, height / (2.9 * this.flat + 2 * TALL * this.up));
  }

  pixel(x: number, y: number, z: number): Pixel {
    const across = x * this.cosine - y * this.sine;
    const away = x * this.sine + y * this.cosine;
    return [
      this.width / 2 + this.scale * across,
      this.height / 2 + this.moved - this.scale * (away * this.flat + z * this.up),
    ];
  }

  /** Puts points in the middle of the height. */
  centre(pixels: readonly Pixel[]): void {
    const ys = pixels.map(([, y]) => y).filter(Number.isFinite);
    if (!ys.length) return;
    this.moved += this.height / 2 - (Math.min(...ys) + Math.max(...ys)) / 2;
  }

  /** How far away a point is: more is farther. */
  depth(x: number, y: number, z: number): number {
    return (x * this.sine + y * this.cosine) * this.up - z * this.flat;
  }
}

/** A mixture of two colours "#rrggbb". */
function mixed(one: string, other: string, share: number): string {
  const parts = [1, 3, 5].map((place) => {
    const [a, b] = [one, other].map((colour) => Number.parseInt(colour.slice(place, place + 2), 16));
    return Math.round(a + (b - a) * share);
  });
  return `rgb(${parts.join(" ")})`;
}

export class Surface {
  private camera = new Camera({ turn: 0, tilt: 0 }, 1, 1);
  private tallest = 1;
  private scene: Scene | null = null;

  constructor(private readonly canvas: HTMLCanvasElement) {}

  private height(x: number, y: number): number {
    const scene = this.scene as Scene;
    const z = (TALL * scene.payoff(x * scene.reach, y * scene.reach)) / this.tallest;
    return Math.max(-1.5 * TALL, Math.min(1.5 * TALL, z));
  }

  private place(x: number, y: number): Pixel {
    return this.camera.pixel(x, y, this.height(x, y));
  }

  draw(scene: Scene, view: View): void {
    this.scene = scene;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const dense = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * dense);
    this.canvas.height = Math.round(height * dense);
    this.camera = new Camera(view, width, height);
    const context = this.canvas.getContext("2d");
    if (!context || !width || !height) return;
    context.scale(dense, dense);
    const style = getComputedStyle(this.canvas);
    const token = (name: string) => style.getPropertyValue(name).trim();
    const sides = Array.from({ length: MESH + 1 }, (_, place) => -1 + (2 * place) / MESH);
    const values = sides.flatMap((x) => sides.map((y) => Math.abs(scene.payoff(x * scene.reach, y * scene.reach))));
    this.tallest = values.filter(Number.isFinite).reduce((a, b) => Math.max(a, b), 0) || 1;
    this.camera.centre(sides.flatMap((x) => sides.map((y) => this.place(x, y))));
    this.drawMesh(context, sides, token);
    this.drawAxes(context, token);
    this.drawPath(context, token);
  }

  private drawMesh(context: CanvasRenderingContext2D, sides: number[], token: (name: string) => string): void {
    const [low, middle, high] = ["--low", "--middle", "--high"].map(token);
    const cells = sides.slice(0, -1).flatMap((x, row) =>
      sides.slice(0, -1).map((y, column) => {
        const [toX, toY] = [sides[row + 1], sides[column + 1]];
        const z = this.height((x + toX) / 2, (y + toY) / 2);
        const corners = [this.place(x, y), this.place(toX, y), this.place(toX, toY), this.place(x, toY)];
        return { corners, share: z / TALL, depth: this.camera.depth((x + toX) / 2, (y + toY) / 2, z) };
      }),
    );
    const defined = cells.filter(({ depth, corners }) => Number.isFinite(depth) && corners.flat().every(Number.isFinite));
    defined.sort((a, b) => b.depth - a.depth);
    context.lineWidth = 0.6;
    context.strokeStyle = token("--mesh");
    for (const { corners, share } of defined) {
      context.fillStyle = share < 0 ? mixed(middle, low, Math.min(1, -share)) : mixed(middle, high, Math.min(1, share));
      trace(context, corners);
      context.closePath();
      context.fill();
      context.stroke();
    }
  }

  private drawAxes(context: CanvasRenderingContext2D, token: (name: string) => string): void {
    context.fillStyle = token("--ink");
    context.strokeStyle = token("--muted");
    context.lineWidth = 1.2;
    context.font = `15px ${token("--sans")}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const [across, up] = (this.scene as Scene).names;
    for (const [name, x, y] of [[across, 1, 0], [up, 0, 1]] as const) {
      trace(context, Array.from({ length: 41 }, (_, place) => {
        const along = -1 + place / 20;
        return this.place(x * along, y * along);
      }).filter((pixel) => pixel.every(Number.isFinite)));
      context.stroke();
      context.fillText(name, ...this.camera.pixel(1.13 * x, 1.13 * y, this.height(x, y) || 0));
    }
  }

  private drawPath(context: CanvasRenderingContext2D, token: (name: string) => string): void {
    const { path, reach, equilibrium } = this.scene as Scene;
    const points = Array.from({ length: path.length / 2 }, (_, place): Pixel => [
      path[2 * place] / reach,
      path[2 * place + 1] / reach,
    ]);
    const seen = points.filter(([x, y]) => Math.abs(x) <= 1.02 && Math.abs(y) <= 1.02 && Number.isFinite(this.height(x, y)));
    const drawn = thinned(seen, MOST_POINTS).map(([x, y]) => this.place(x, y));
    context.lineJoin = "round";
    for (const [colour, wide] of [["--halo", 4.5], ["--path", 2]] as const) {
      context.strokeStyle = token(colour);
      context.lineWidth = wide;
      trace(context, drawn);
      context.stroke();
    }
    const dot = (at: Pixel, radius: number, fill: string, edge: string) => {
      context.beginPath();
      context.arc(at[0], at[1], radius, 0, 2 * Math.PI);
      context.fillStyle = token(fill);
      context.fill();
      context.strokeStyle = token(edge);
      context.lineWidth = 2;
      context.stroke();
    };
    if (equilibrium) dot(this.place(equilibrium[0] / reach, equilibrium[1] / reach), 3.5, "--surface", "--ink");
    const end = drawn.at(-1);
    if (end && seen.at(-1) === points.at(-1)) dot(end, 4.5, "--path", "--halo");
    dot(this.place(...points[0]), 7, "--handle", "--halo");
  }

  /** Whether a pixel is near enough to the start to take hold of it. */
  isNearStart([across, down]: Pixel): boolean {
    if (!this.scene) return false;
    const { path, reach } = this.scene;
    const [x, y] = this.place(path[0] / reach, path[1] / reach);
    return Math.hypot(x - across, y - down) <= NEAR;
  }

  /** The point of the plane whose point on the surface is at a pixel, near a first guess. */
  pointAt([across, down]: Pixel, guess: Point): Point {
    const { reach } = this.scene as Scene;
    let [x, y] = [guess[0] / reach, guess[1] / reach];
    const small = 1e-4;
    for (let iteration = 0; iteration < 12; iteration++) {
      const at = this.place(x, y);
      const [alongX, alongY] = [this.place(x + small, y), this.place(x, y + small)];
      const [a, c] = [(alongX[0] - at[0]) / small, (alongX[1] - at[1]) / small];
      const [b, d] = [(alongY[0] - at[0]) / small, (alongY[1] - at[1]) / small];
      const determinant = a * d - b * c;
      if (Math.abs(determinant) < 1e-6) break;
      const [right, below] = [across - at[0], down - at[1]];
      const [stepX, stepY] = [(d * right - b * below) / determinant, (a * below - c * right) / determinant];
      const share = Math.min(1, 0.3 / Math.hypot(stepX, stepY)); // A fold of the surface must not throw it away.
      [x, y] = [x + share * stepX, y + share * stepY].map((value) => Math.max(-1, Math.min(1, value)));
    }
    return [x * reach, y * reach];
  }
}

function trace(context: CanvasRenderingContext2D, points: Pixel[]): void {
  context.beginPath();
  points.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
}
