// All chunks as one strip of ticks, drawn on a canvas so that thousands cost nothing. It knows no texts.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";

const MARKS = { keep: "k", failed: "f" };

function colours(canvas) {
  const style = getComputedStyle(canvas);
  const named = (name) => style.getPropertyValue(name).trim();
  return { quiet: named("--quiet"), change: named("--change"), bad: named("--bad"), here: named("--here") };
}

function draw(canvas, outcomes, changed, total, at) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const colour = colours(canvas);
  const step = width / Math.max(total, outcomes.length, 1);
  for (let i = 0; i < outcomes.length; i += 1) {
    const isChange = changed.has(i), isBad = outcomes[i] === MARKS.failed;
    pen.fillStyle = isBad ? colour.bad : isChange ? colour.change : colour.quiet;
    const tall = isChange || isBad ? height : height * 0.35;
    pen.fillRect(i * step, height - tall, Math.max(isChange || isBad ? 2 : 0.8, step - 1), tall);
  }
  pen.fillStyle = colour.here;
  pen.fillRect(at * step, 0, Math.max(2, step), 3);
}

export function Strip({ outcomes, changed, total, at, onPick }) {
  const canvas = useRef(null);
  useEffect(() => {
    const redraw = () => draw(canvas.current, outcomes, changed, total, at);
    redraw();
    window.addEventListener("resize", redraw);
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw);
    return () => {
      window.removeEventListener("resize", redraw);
      dark.removeEventListener("change", redraw);
    };
  }, [outcomes, changed, total, at]);
  const pick = (event) => {
    const box = canvas.current.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left) / box.width) * Math.max(total, outcomes.length, 1));
    onPick(Math.max(0, Math.min(outcomes.length - 1, place)));
  };
  return html`<canvas
    class="strip" ref=${canvas} onClick=${pick} role="slider" tabindex="0" aria-label="Chunk"
    aria-valuemin="1" aria-valuemax=${outcomes.length} aria-valuenow=${at + 1}
  ></canvas>`;
}
