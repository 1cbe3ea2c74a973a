// Numbers as text, and drawing on any canvas.

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const signed = (n) => (n > 0 ? `+${n}` : `${n}`.replace("-", "−"));
const short = (n) => (n === null ? "none" : n.toPrecision(3).replace("-", "−"));
const clamp = (n, low, high) => Math.min(Math.max(n, low), high);

function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

function outlined(pen, colour, width, path) { // a line that shows on any picture: a halo under the colour
  const [r, g, b] = colour.match(/\d+/g).map(Number);
  for (const [style, extra] of [[r * 0.3 + g * 0.6 + b * 0.1 > 110 ? "#000b" : "#fffd", 2.4], [colour, 0]]) {
    pen.strokeStyle = style;
    pen.lineWidth = width + extra;
    pen.beginPath();
    path();
    pen.stroke();
  }
}

function paint(pen, lut, share, x, y, size) {
  const place = 3 * Math.round(clamp(share, 0, 1) * 255);
  pen.fillStyle = `rgb(${lut[place]},${lut[place + 1]},${lut[place + 2]})`;
  pen.fillRect(x, y, size + 0.5, size + 0.5);
}
