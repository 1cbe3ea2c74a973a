// The clip, as it was sent once: its sizes, and what can be painted of its pixels.

function clipOf(sent) {
  const [T, h, w] = sent.size;
  const cells = bytes(sent.cells), levels = bytes(sent.levels), truth = bytes(sent.truth);
  const masks = new Map(); // "instance/frame" -> canvas [h, w]
  const first = (instance, t) => (instance * T + t) * h * w; // place of its map in `levels` and `truth`

  function patch(pen, frame, y, x, size, side) { // cells of a frame around (y, x); hatched outside the frame
    const margin = (size - 1) / 2, cell = side / size;
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        const v = y - margin + i, u = x - margin + j, inside = v >= 0 && v < h && u >= 0 && u < w;
        const place = 3 * ((frame * h + v) * w + u);
        pen.fillStyle = inside ? `rgb(${cells[place]},${cells[place + 1]},${cells[place + 2]})` : (i + j) % 2 ? "#8883" : "#8886";
        pen.fillRect(j * cell, i * cell, cell + 0.5, cell + 0.5);
      }
  }

  function maskOf(instance, t) { // inside orange, outside blue, undecided clear
    const name = `${instance}/${t}`;
    if (!masks.has(name)) {
      const canvas = new OffscreenCanvas(w, h), pen = canvas.getContext("2d"), image = pen.createImageData(w, h);
      for (let i = 0; i < h * w; i++) {
        const sure = levels[first(instance, t) + i] / 127.5 - 1; // -1 outside .. 1 inside
        image.data.set(sure > 0 ? [230, 140, 0, 150 * sure] : [0, 90, 190, -100 * sure], 4 * i);
      }
      pen.putImageData(image, 0, 0);
      masks.set(name, canvas);
    }
    return masks.get(name);
  }

  function border(pen, inside, at, scale) { // the edge between cells inside and outside
    for (let v = 0; v < h; v++)
      for (let u = 0; u < w; u++) {
        const here = inside(v, u), [x, y] = at(v, u);
        if (u + 1 < w && inside(v, u + 1) !== here) { pen.moveTo(x + scale, y); pen.lineTo(x + scale, y + scale); }
        if (v + 1 < h && inside(v + 1, u) !== here) { pen.moveTo(x, y + scale); pen.lineTo(x + scale, y + scale); }
      }
  }

  return {
    ...sent, T, h, w, patch, maskOf, border,
    luts: { near: bytes(sent.near), cost: bytes(sent.cost) },
    hasMasks: levels.length > 0,
    hasTruth: truth.length > 0,
    inMask: (instance, t) => (v, u) => levels[first(instance, t) + v * w + u] > 127,
    inTruth: (instance, t) => (v, u) => truth[first(instance, t) + v * w + u] > 0,
  };
}
