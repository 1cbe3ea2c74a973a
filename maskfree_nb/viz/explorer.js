// The explorer's browser side: it asks (sets traits), Python answers (`answer`, then `seq`), it draws.
// No import, no network: canvas and form controls only.

const TEMPLATE = `
  <div class="mf-bar">
    <div class="mf-choice" role="group" aria-label="view">
      <button type="button" data-view="matches">Matches</button>
      <button type="button" data-view="loss">Masks and loss</button>
    </div>
    <div class="mf-choice" role="group" aria-label="version of the loss">
      <button type="button" data-version="paper" title="dense window, RGB: TKLoss.paper()">paper</button>
      <button type="button" data-version="official" title="3 x 3 grid, three pixels apart: TKLoss.official()">official code</button>
    </div>
    <button type="button" class="mf-play">▶ Play the tube</button>
    <label title="while playing: go on at the best match, in the frame it lies in"><input type="checkbox" class="mf-follow"> follow the best match</label>
    <label class="mf-truth"><input type="checkbox" checked> <span></span></label>
  </div>
  <div class="mf-titles"><span></span><span></span></div>
  <canvas class="mf-stage" tabindex="0" role="application"
    aria-label="Two frames. Click or drag to choose a pixel of the left one; arrow keys move it, with Shift by five."></canvas>
  <div class="mf-case" role="status" aria-live="polite"><i></i><b></b><span></span></div>
  <div class="mf-sliders"></div>
  <div class="mf-panels">
    <section><h4></h4><div class="mf-cards"></div></section>
    <section class="mf-window"><h4>its window, magnified</h4><canvas class="mf-colours"></canvas></section>
    <section class="mf-map"><h4></h4><canvas class="mf-heat"></canvas>
      <div class="mf-legend"><span></span><canvas width="256" height="1"></canvas><span></span></div></section>
  </div>
  <div class="mf-note"></div>`;

const SLIDERS = [
  // trait, label, what it is, step
  ["pair", "frame pair", "which two frames of the tube", 1],
  ["radius", "window R", "how far candidates reach", 1],
  ["k", "matches K", "the most matches a pixel may have", 1],
  ["threshold", "similarity D", "the least exp(-d/2) of a match", 0.01],
  ["patch_size", "patch", "side of the patches that are compared", 2],
  ["instance", "instance", "whose mask", 1],
  ["zoom", "zoom", "of the frames", 1],
];
const GAP = 12, TALLEST = 520; // pixels between the two frames; their greatest height
const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const signed = (n) => (n > 0 ? `+${n}` : `${n}`.replace("-", "−"));
const short = (n) => (n === null ? "none" : n.toPrecision(3).replace("-", "−"));
const clamp = (n, low, high) => Math.min(Math.max(n, low), high);

// The output before ours is the still picture, for the day when there is no kernel: until then it only doubles.
function hideStill(el) {
  requestAnimationFrame(() => {
    const still = el.closest(".jp-OutputArea-child")?.previousElementSibling;
    if (still?.querySelector(".jp-RenderedImage")) still.hidden = true;
  });
}

function render({ model, el }) {
  const clip = model.get("clip");
  const [T, h, w] = clip.size;
  const cells = bytes(clip.cells), levels = bytes(clip.levels), truth = bytes(clip.truth);
  const luts = { near: bytes(clip.near), cost: bytes(clip.cost) };
  const root = document.createElement("div");
  root.className = "mf-explorer";
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the arrow keys to us
  root.innerHTML = TEMPLATE;
  el.replaceChildren(root);
  if (!el.closest(".widget-box")) hideStill(el);
  const find = (selector) => root.querySelector(selector);
  const stage = find(".mf-stage"), heat = find(".mf-heat"), colours = find(".mf-colours");

  root.style.setProperty("--mf-widest", `${(2 * TALLEST * w) / h + GAP}px`);
  let images = [], zoom = 1, corner = [0, 0], dragging = false; // the corner (y, x) of what zoom leaves
  let asked = 0, waiting = null, playing = null;
  const masks = new Map(); // "instance/frame" -> canvas [h, w]

  // ---- asking ------------------------------------------------------------------------------------------
  function ask(change) {
    if (Object.entries(change).every(([name, value]) => model.get(name) === value)) return false;
    for (const [name, value] of Object.entries(change)) model.set(name, value);
    model.save_changes();
    asked = performance.now();
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      find(".mf-note").textContent = "No answer from the kernel: it is busy, or gone (then run this cell again).";
    }, 4000);
    return true;
  }

  function move(dy, dx) {
    ask({ y: clamp(model.get("y") + dy, 0, h - 1), x: clamp(model.get("x") + dx, 0, w - 1) });
  }

  function point(event) {
    const box = stage.getBoundingClientRect(), frame = (box.width - GAP) / 2;
    const left = event.clientX - box.left, scale = (frame * zoom) / w;
    const x = corner[1] + (left > frame + GAP / 2 ? left - frame - GAP : left) / scale;
    const y = corner[0] + (event.clientY - box.top) / scale;
    ask({ y: clamp(Math.floor(y), 0, h - 1), x: clamp(Math.floor(x), 0, w - 1) });
  }
  stage.addEventListener("pointerdown", (event) => {
    dragging = true;
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    point(event);
  });
  stage.addEventListener("pointermove", (event) => dragging && point(event));
  for (const name of ["pointerup", "pointercancel"])
    stage.addEventListener(name, () => { dragging = false; draw(); });
  stage.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 5 : 1;
    const way = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    move(...way);
  });

  // ---- controls ----------------------------------------------------------------------------------------
  const inputs = {};
  for (const [name, label, title, step] of SLIDERS) {
    const [low, high] = clip.ranges[name] ??
      { pair: [0, clip.pairs.length - 1], instance: [0, clip.instances - 1], zoom: [1, 6] }[name];
    const row = document.createElement("label");
    row.title = title;
    row.dataset.slider = name;
    row.innerHTML = `<span>${label}</span><input type="range" min="${low}" max="${high}" step="${step}"><output></output>`;
    inputs[name] = row.querySelector("input");
    row.hidden = high <= low;
    inputs[name].addEventListener("input", () => {
      const value = Number(inputs[name].value);
      if (name !== "zoom") return ask({ [name]: value });
      zoom = value;
      draw();
    });
    find(".mf-sliders").append(row);
  }
  for (const name of ["view", "version"])
    for (const button of root.querySelectorAll(`[data-${name}]`))
      button.addEventListener("click", () => ask({ [name]: button.dataset[name] }));
  find("[data-view=loss]").hidden = levels.length === 0;
  find(".mf-truth").hidden = truth.length === 0 && clip.boxes.length === 0;
  find(".mf-truth span").textContent = [truth.length && "true masks", clip.boxes.length && "boxes"].filter(Boolean).join(", ");
  find(".mf-truth input").addEventListener("change", draw);

  function showControls() {
    for (const [name] of SLIDERS) inputs[name].value = name === "zoom" ? zoom : model.get(name);
    for (const name of ["view", "version"])
      for (const button of root.querySelectorAll(`[data-${name}]`))
        button.setAttribute("aria-pressed", String(button.dataset[name] === model.get(name)));
    const values = {
      pair: `${clip.pairs[model.get("pair")][0]} → ${clip.pairs[model.get("pair")][1]}`,
      threshold: model.get("threshold").toFixed(2),
      patch_size: `${model.get("patch_size")} × ${model.get("patch_size")}`,
      zoom: `${zoom} ×`,
    };
    for (const row of root.querySelectorAll("[data-slider]")) {
      const name = row.dataset.slider;
      row.querySelector("output").textContent = values[name] ?? model.get(name);
      if (name === "instance") row.hidden = clip.instances < 2 || model.get("view") !== "loss";
    }
  }

  // ---- playing -----------------------------------------------------------------------------------------
  function stop() {
    clearTimeout(playing);
    playing = null;
    find(".mf-play").textContent = "▶ Play the tube";
  }
  function step() {
    const { frames, matches } = model.get("answer");
    if (!find(".mf-follow").checked)
      return ask({ pair: (model.get("pair") + 1) % clip.pairs.length }) || stop();
    const next = clip.pairs.findIndex((pair) => pair[1] === frames[0]); // the pair whose centre is our source
    if (next < 0 || !matches.length) {
      stop();
      find(".mf-note").textContent = next < 0 ? "The tube ends here." : "No match to follow: the track is lost here.";
    } else if (!ask({ pair: next, y: matches[0].y, x: matches[0].x })) stop();
  }
  find(".mf-play").addEventListener("click", () => {
    if (playing) return stop();
    find(".mf-play").textContent = "❚❚ Pause";
    playing = setTimeout(step, 0);
  });

  // ---- drawing -----------------------------------------------------------------------------------------
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
        const sure = levels[(instance * T + t) * h * w + i] / 127.5 - 1; // -1 outside .. 1 inside
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

  function drawStage(answer, colour) {
    const width = stage.clientWidth, frame = (width - GAP) / 2, height = (frame * h) / w;
    const pen = sized(stage, width, height), scale = (frame * zoom) / w;
    const [py, px] = answer.pixel, seen = [h / zoom, w / zoom];
    if (!dragging) // keep the pixel well inside what zoom leaves of the frame
      [py, px].forEach((place, axis) => {
        const margin = seen[axis] * 0.25, end = [h, w][axis] - seen[axis];
        if (place < corner[axis] + margin || place > corner[axis] + seen[axis] - margin) corner[axis] = place - seen[axis] / 2;
        corner[axis] = clamp(corner[axis], 0, end);
      });
    const at = (side) => (v, u) => [side * (frame + GAP) + (u - corner[1]) * scale, (v - corner[0]) * scale];
    const [a, b] = answer.frames, loss = model.get("view") === "loss", instance = model.get("instance");
    for (const [side, t] of [[0, b], [1, a]]) {
      pen.save();
      pen.beginPath();
      pen.rect(side * (frame + GAP), 0, frame, height);
      pen.clip();
      const place = at(side), [x, y] = place(0, 0);
      if (loss) pen.filter = "grayscale(0.85)";
      if (images[t]) pen.drawImage(images[t], x, y, w * scale, h * scale);
      pen.filter = "none";
      if (loss) {
        pen.imageSmoothingEnabled = scale < 6;
        pen.drawImage(maskOf(instance, t), x, y, w * scale, h * scale);
        const first = (instance * T + t) * h * w;
        outlined(pen, "rgb(20,20,20)", 1, () => border(pen, (v, u) => levels[first + v * w + u] > 127, place, scale));
      }
      if (find(".mf-truth input").checked) drawTruth(pen, t, place, scale, loss ? [instance] : null);
      if (side === 0) {
        const size = model.get("patch_size"), [left, top] = place(py - (size - 1) / 2, px - (size - 1) / 2);
        outlined(pen, colour, 1.6, () => pen.rect(left, top, size * scale, size * scale));
      } else drawWindow(pen, answer, place, scale);
      pen.restore();
    }
    const [sx, sy] = at(0)(py + 0.5, px + 0.5);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width, height);
    pen.clip();
    for (const match of [...answer.matches].reverse()) { // the most similar on top
      const [ex, ey] = at(1)(match.y + 0.5, match.x + 0.5);
      pen.globalAlpha = 0.5 + 0.5 * match.similarity;
      pen.setLineDash(match.right === false ? [7, 5] : []);
      outlined(pen, colour, 1 + 3 * match.similarity, () => { pen.moveTo(sx, sy); pen.lineTo(ex, ey); });
      pen.setLineDash([]);
      outlined(pen, colour, 1.5, () => pen.arc(ex, ey, Math.max(scale / 2, 2.2), 0, 7));
    }
    pen.globalAlpha = 1;
    if (answer.matches.length) outlined(pen, colour, 2, () => pen.arc(sx, sy, Math.max(scale / 2, 3), 0, 7));
    else outlined(pen, colour, 2.5, () => { // a cross: nothing to go to
      const arm = Math.max(scale, 6);
      pen.moveTo(sx - arm, sy - arm); pen.lineTo(sx + arm, sy + arm);
      pen.moveTo(sx - arm, sy + arm); pen.lineTo(sx + arm, sy - arm);
    });
    pen.restore();
  }

  function drawWindow(pen, answer, place, scale) { // the candidates: the outline of a disk, or single cells
    const [py, px] = answer.pixel, known = new Set(answer.offsets.map(String));
    outlined(pen, "rgb(255,255,255)", 1.2, () => {
      for (const [dy, dx] of answer.offsets) {
        const [x, y] = place(py + dy, px + dx), far = scale;
        for (const [vy, vx, x0, y0, x1, y1] of [
          [-1, 0, x, y, x + far, y], [1, 0, x, y + far, x + far, y + far],
          [0, -1, x, y, x, y + far], [0, 1, x + far, y, x + far, y + far],
        ])
          if (!known.has(String([dy + vy, dx + vx]))) { pen.moveTo(x0, y0); pen.lineTo(x1, y1); }
      }
    });
  }

  function drawTruth(pen, t, place, scale, only) {
    for (let n = 0; n < clip.instances; n++) {
      if (only && !only.includes(n)) continue;
      const first = (n * T + t) * h * w, box = clip.boxes[n]?.[t];
      pen.setLineDash([4, 3]);
      if (truth.length) outlined(pen, "rgb(255,255,255)", 1, () => border(pen, (v, u) => truth[first + v * w + u] > 0, place, scale));
      pen.setLineDash([]);
      if (box) {
        const [left, top] = place(box[1] / clip.stride, box[0] / clip.stride);
        const [right, bottom] = place(box[3] / clip.stride, box[2] / clip.stride);
        outlined(pen, "rgb(86,180,233)", 1, () => pen.rect(left, top, right - left, bottom - top));
      }
    }
  }

  const reachOf = (answer) => Math.max(...answer.offsets.flat().map(Math.abs));

  function drawHeat(answer, colour) { // the distance to every candidate; matches framed and numbered
    const side = heat.clientWidth, pen = sized(heat, side, side), reach = reachOf(answer);
    const apart = model.get("version") === "official" ? 3 : 1, count = (2 * reach) / apart + 1, cell = side / count;
    const near = answer.limit ?? 6;
    const farthest = Math.max(2 * near, ...answer.distances.filter((d) => d !== null));
    const corners = answer.offsets.map(([dy, dx]) => [((dx + reach) / apart) * cell, ((dy + reach) / apart) * cell]);
    corners.forEach(([x, y], s) => {
      const d = answer.distances[s];
      if (d === null) { pen.fillStyle = "#8884"; pen.fillRect(x + cell * 0.4, y + cell * 0.4, cell * 0.2, cell * 0.2); }
      else paint(pen, luts.near, Math.sqrt(d / farthest), x, y, cell);
    });
    pen.font = `bold ${Math.min(cell * 0.62, 15)}px sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    [...answer.matches].map((match, rank) => [match, rank]).reverse().forEach(([match, rank]) => {
      const [x, y] = corners[answer.offsets.findIndex(([dy, dx]) => dy === match.dy && dx === match.dx)];
      outlined(pen, colour, 2, () => pen.rect(x + 2, y + 2, cell - 4, cell - 4));
      pen.fillStyle = match.distance / farthest > 0.2 ? "#fff" : "#000";
      if (cell > 10) pen.fillText(rank + 1, x + cell / 2, y + cell / 2 + 1);
    });
    legend("near", "0", `d ${short(farthest)}`, Math.sqrt(near / farthest));
    heat.onpointermove = (event) => {
      const box = heat.getBoundingClientRect();
      const dx = Math.floor((event.clientX - box.left) / cell) * apart - reach;
      const dy = Math.floor((event.clientY - box.top) / cell) * apart - reach;
      const d = answer.distances[answer.offsets.findIndex((offset) => offset[0] === dy && offset[1] === dx)];
      heat.title = d == null ? "no candidate" : `(${signed(dy)}, ${signed(dx)}): d = ${short(d)}, similarity ${short(Math.exp(-d / 2))}`;
    };
  }

  function drawLoss(answer) { // the loss of every pixel of the centre frame
    const view = model.get("loss_map"), values = new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    const width = heat.clientWidth, cell = width / w, pen = sized(heat, width, cell * h);
    const most = Math.max(...values, 1e-6);
    const canvas = new OffscreenCanvas(w, h), image = new ImageData(w, h);
    values.forEach((value, i) => {
      const place = 3 * Math.round(255 * Math.sqrt(value / most));
      image.data.set([...luts.cost.subarray(place, place + 3), 255], 4 * i);
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(canvas, 0, 0, width, cell * h);
    const [y, x] = answer.pixel;
    outlined(pen, "rgb(86,180,233)", 2, () => pen.arc((x + 0.5) * cell, (y + 0.5) * cell, Math.max(cell, 5), 0, 7));
    legend("cost", "0", short(most), null);
    heat.onpointermove = (event) => {
      const box = heat.getBoundingClientRect();
      const v = clamp(Math.floor((event.clientY - box.top) / cell), 0, h - 1), u = clamp(Math.floor((event.clientX - box.left) / cell), 0, w - 1);
      heat.title = `pixel (${v}, ${u}): ${short(values[v * w + u])}`;
    };
  }

  function legend(name, low, high, mark) {
    const [from, to] = root.querySelectorAll(".mf-legend span"), bar = find(".mf-legend canvas"), pen = bar.getContext("2d");
    for (let i = 0; i < 256; i++) paint(pen, luts[name], i / 255, i, 0, 1);
    if (mark !== null) { pen.fillStyle = "#d55e00"; pen.fillRect(mark * 256 - 2, 0, 4, 1); }
    bar.title = mark === null ? "square-root scale" : "square-root scale; the mark is the threshold D";
    [from.textContent, to.textContent] = [low, high];
  }

  function drawColours(answer, colour) { // the same window in colours: what the heat map compares
    const side = colours.clientWidth, pen = sized(colours, side, side), reach = reachOf(answer), size = 2 * reach + 1, cell = side / size;
    patch(pen, answer.frames[0], ...answer.pixel, size, side);
    drawWindow(pen, { ...answer, pixel: [reach, reach] }, (v, u) => [u * cell, v * cell], cell);
    for (const match of answer.matches)
      outlined(pen, colour, 2, () => pen.arc((match.dx + reach + 0.5) * cell, (match.dy + reach + 0.5) * cell, Math.max(cell * 0.3, 2), 0, 7));
  }

  function drawCards(answer, colour) {
    const [a, b] = answer.frames, k = model.get("k"), size = model.get("patch_size"), loss = model.get("view") === "loss";
    const holder = find(".mf-cards");
    const made = [{ frame: b, y: answer.pixel[0], x: answer.pixel[1], own: true }, ...answer.matches.map((match) => ({ frame: a, ...match }))];
    while (holder.children.length > k + 1) holder.lastChild.remove();
    while (holder.children.length < k + 1) {
      const card = document.createElement("div");
      card.innerHTML = `<canvas></canvas><strong></strong><meter min="0" max="1"></meter><small></small>`;
      holder.append(card);
    }
    [...holder.children].forEach((card, place) => {
      const item = made[place], canvas = card.querySelector("canvas"), side = 64;
      canvas.style.width = `${side}px`;
      const pen = sized(canvas, side, side), [strong, meter, small] = ["strong", "meter", "small"].map((tag) => card.querySelector(tag));
      card.className = item ? (item.own ? "mf-own" : "") : "mf-empty";
      card.style.setProperty("--case", colour);
      meter.hidden = !item || item.own;
      if (!item) { strong.textContent = place; small.textContent = "no match"; return; }
      patch(pen, item.frame, item.y, item.x, size, side);
      strong.textContent = item.own ? `(${item.y}, ${item.x})` : `${place}: ${signed(item.dy)}, ${signed(item.dx)}`;
      if (item.own) small.textContent = loss ? `logit ${short(answer.logit)}` : "the pixel";
      else {
        meter.value = item.similarity;
        meter.title = `similarity exp(-d/2) = ${short(item.similarity)}`;
        const verdict = item.right === null ? "" : item.right ? " ✓" : " ✗ wrong side";
        small.textContent = loss ? `logit ${short(item.logit)}, adds ${short(item.term)}` : `d = ${item.distance.toFixed(2)}${verdict}`;
      }
    });
  }

  function drawCase(answer, colour) {
    const { text } = clip.cases[answer.case], loss = model.get("view") === "loss", k = model.get("k");
    const known = answer.distances.filter((d) => d !== null), near = known.filter((d) => d <= (answer.limit ?? Infinity)).length;
    const limit = answer.limit === null ? "" : ` (d ≤ ${answer.limit.toFixed(2)})`;
    let details = `${text}. ${near} of ${known.length} candidates near enough${limit}, at most ${k} kept; nearest d = ${Math.min(...known).toFixed(2)}.`;
    if (loss) details = `this pixel's matches cost ${short(answer.pixel_loss)}; the frame pair costs ${short(answer.pair_loss)}.`;
    find(".mf-case i").style.background = colour;
    find(".mf-case b").textContent = { none: "no match", unique: "unique match" }[answer.case] ?? answer.case;
    find(".mf-case span").textContent = details;
  }

  function draw() {
    const answer = model.get("answer"), colour = clip.cases[answer.case].colour, loss = model.get("view") === "loss";
    root.classList.toggle("mf-loss", loss);
    if (!root.clientWidth) return; // not on the page yet; the observer calls again
    const [left, right] = root.querySelectorAll(".mf-titles span"), [a, b] = answer.frames;
    left.textContent = `frame ${b}${loss ? ": mask logits" : ": choose a pixel"}`;
    right.textContent = `frame ${a}${loss ? ": mask logits (orange inside, blue outside)" : ": its candidates and its matches"}`;
    const [cards, , map] = root.querySelectorAll("h4");
    cards.textContent = loss ? "the pixel's patch, and what each match adds to the loss" : "the pixel's patch and its matches, at (dy, dx)";
    map.textContent = loss ? `consistency loss of every pixel of frame ${b}` : "distance to every candidate";
    showControls();
    drawCase(answer, colour);
    drawStage(answer, colour);
    drawCards(answer, colour);
    if (loss) drawLoss(answer);
    else { drawColours(answer, colour); drawHeat(answer, colour); }
  }

  function answered() {
    clearTimeout(waiting);
    find(".mf-note").textContent = "";
    draw();
    const { pixel, matches, case: kind } = model.get("answer"), best = matches[0];
    Object.assign(root.dataset, {
      seq: model.get("seq"), pixel: pixel.join(), n: matches.length, case: kind,
      matches: matches.map((match) => `${match.y},${match.x}`).join(" "),
      best: best ? `${best.y},${best.x}` : "", ms: (performance.now() - asked).toFixed(1),
    });
    if (playing) playing = setTimeout(step, 700);
  }

  model.on("change:seq", answered);
  const observer = new ResizeObserver(() => draw());
  observer.observe(root);
  Promise.all(clip.images.map((image) => createImageBitmap(new Blob([image], { type: "image/png" })))).then((all) => {
    images = all;
    draw();
    answered();
  });
  return () => {
    stop();
    clearTimeout(waiting);
    observer.disconnect();
    model.off("change:seq", answered);
  };
}

export default { render };
