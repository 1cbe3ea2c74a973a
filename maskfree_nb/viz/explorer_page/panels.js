// The panels below the stage: the pixel's case, patches, window, and the map of distances or of the loss.

function panelsOf({ model, clip, root, find }) {
  const { h, w } = clip, heat = find(".mf-heat"), colours = find(".mf-colours");
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
      else paint(pen, clip.luts.near, Math.sqrt(d / farthest), x, y, cell);
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
      image.data.set([...clip.luts.cost.subarray(place, place + 3), 255], 4 * i);
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
    for (let i = 0; i < 256; i++) paint(pen, clip.luts[name], i / 255, i, 0, 1);
    if (mark !== null) { pen.fillStyle = "#d55e00"; pen.fillRect(mark * 256 - 2, 0, 4, 1); }
    bar.title = mark === null ? "square-root scale" : "square-root scale; the mark is the threshold D";
    [from.textContent, to.textContent] = [low, high];
  }

  function drawColours(answer, colour) { // the same window in colours: what the heat map compares
    const side = colours.clientWidth, pen = sized(colours, side, side), reach = reachOf(answer), size = 2 * reach + 1, cell = side / size;
    clip.patch(pen, answer.frames[0], ...answer.pixel, size, side);
    outlineWindow(pen, { ...answer, pixel: [reach, reach] }, (v, u) => [u * cell, v * cell], cell);
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
      clip.patch(pen, item.frame, item.y, item.x, size, side);
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

  return {
    draw(answer, colour) {
      const loss = model.get("view") === "loss", [cards, , map] = root.querySelectorAll("h4");
      cards.textContent = loss ? "the pixel's patch, and what each match adds to the loss" : "the pixel's patch and its matches, at (dy, dx)";
      map.textContent = loss ? `consistency loss of every pixel of frame ${answer.frames[1]}` : "distance to every candidate";
      drawCase(answer, colour);
      drawCards(answer, colour);
      if (loss) drawLoss(answer);
      else { drawColours(answer, colour); drawHeat(answer, colour); }
    },
  };
}
