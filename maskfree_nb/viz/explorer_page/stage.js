// The stage: two frames of the clip, left the chosen pixel, right its window and its matches.

const GAP = 12, TALLEST = 520; // pixels between the two frames; their greatest height

// The candidates: the outline of a disk, or single cells.
function outlineWindow(pen, answer, place, scale) {
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

function stageOf({ model, clip, root, find, ask, redraw }) {
  const { h, w } = clip, canvas = find(".mf-stage");
  let images = [], zoom = 1, corner = [0, 0], dragging = false; // the corner (y, x) of what zoom leaves

  function choose(y, x) {
    ask({ y: clamp(y, 0, h - 1), x: clamp(x, 0, w - 1) });
  }

  function point(event) {
    const box = canvas.getBoundingClientRect(), frame = (box.width - GAP) / 2;
    const left = event.clientX - box.left, scale = (frame * zoom) / w;
    const x = corner[1] + (left > frame + GAP / 2 ? left - frame - GAP : left) / scale;
    const y = corner[0] + (event.clientY - box.top) / scale;
    choose(Math.floor(y), Math.floor(x));
  }
  canvas.addEventListener("pointerdown", (event) => {
    dragging = true;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    point(event);
  });
  canvas.addEventListener("pointermove", (event) => dragging && point(event));
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => { dragging = false; redraw(); });
  canvas.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 5 : 1;
    const way = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    choose(model.get("y") + way[0], model.get("x") + way[1]);
  });

  function draw(answer, colour) {
    const [left, right] = root.querySelectorAll(".mf-titles span"), [a, b] = answer.frames;
    const loss = model.get("view") === "loss", instance = model.get("instance");
    left.textContent = `frame ${b}${loss ? ": mask logits" : ": choose a pixel"}`;
    right.textContent = `frame ${a}${loss ? ": mask logits (orange inside, blue outside)" : ": its candidates and its matches"}`;
    const width = canvas.clientWidth, frame = (width - GAP) / 2, height = (frame * h) / w;
    const pen = sized(canvas, width, height), scale = (frame * zoom) / w;
    const [py, px] = answer.pixel, seen = [h / zoom, w / zoom];
    if (!dragging) // keep the pixel well inside what zoom leaves of the frame
      [py, px].forEach((place, axis) => {
        const margin = seen[axis] * 0.25, end = [h, w][axis] - seen[axis];
        if (place < corner[axis] + margin || place > corner[axis] + seen[axis] - margin) corner[axis] = place - seen[axis] / 2;
        corner[axis] = clamp(corner[axis], 0, end);
      });
    const at = (side) => (v, u) => [side * (frame + GAP) + (u - corner[1]) * scale, (v - corner[0]) * scale];
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
        pen.drawImage(clip.maskOf(instance, t), x, y, w * scale, h * scale);
        outlined(pen, "rgb(20,20,20)", 1, () => clip.border(pen, clip.inMask(instance, t), place, scale));
      }
      if (find(".mf-truth input").checked) drawTruth(pen, t, place, scale, loss ? [instance] : null);
      if (side === 0) {
        const size = model.get("patch_size"), [left, top] = place(py - (size - 1) / 2, px - (size - 1) / 2);
        outlined(pen, colour, 1.6, () => pen.rect(left, top, size * scale, size * scale));
      } else outlineWindow(pen, answer, place, scale);
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

  function drawTruth(pen, t, place, scale, only) {
    for (let n = 0; n < clip.instances; n++) {
      if (only && !only.includes(n)) continue;
      const box = clip.boxes[n]?.[t];
      pen.setLineDash([4, 3]);
      if (clip.hasTruth) outlined(pen, "rgb(255,255,255)", 1, () => clip.border(pen, clip.inTruth(n, t), place, scale));
      pen.setLineDash([]);
      if (box) {
        const [left, top] = place(box[1] / clip.stride, box[0] / clip.stride);
        const [right, bottom] = place(box[3] / clip.stride, box[2] / clip.stride);
        outlined(pen, "rgb(86,180,233)", 1, () => pen.rect(left, top, right - left, bottom - top));
      }
    }
  }

  return {
    draw,
    get zoom() { return zoom; },
    set zoom(value) { zoom = value; },
    set images(value) { images = value; },
  };
}
