// The explorer's browser side: it asks (sets traits), Python answers (`answer`, then `seq`), it draws.
// No import, no network: canvas and form controls only. The files of this folder are joined into one module.

// The output before ours is the still picture, for the day when there is no kernel: until then it only doubles.
function hideStill(el) {
  requestAnimationFrame(() => {
    const still = el.closest(".jp-OutputArea-child")?.previousElementSibling;
    if (still?.querySelector(".jp-RenderedImage")) still.hidden = true;
  });
}

function render({ model, el }) {
  const clip = clipOf(model.get("clip"));
  const root = document.createElement("div");
  root.className = "mf-explorer";
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the arrow keys to us
  root.innerHTML = TEMPLATE;
  root.style.setProperty("--mf-widest", `${(2 * TALLEST * clip.w) / clip.h + GAP}px`);
  el.replaceChildren(root);
  if (!el.closest(".widget-box")) hideStill(el);
  const find = (selector) => root.querySelector(selector);
  let asked = 0, waiting = null;

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

  const page = { model, clip, root, find, ask, redraw };
  const stage = stageOf(page), panels = panelsOf(page), controls = controlsOf(page, stage), player = playerOf(page);

  function redraw() {
    const answer = model.get("answer"), colour = clip.cases[answer.case].colour, loss = model.get("view") === "loss";
    root.classList.toggle("mf-loss", loss);
    if (!root.clientWidth) return; // not on the page yet; the observer calls again
    controls.show();
    stage.draw(answer, colour);
    panels.draw(answer, colour);
  }

  function answered() {
    clearTimeout(waiting);
    find(".mf-note").textContent = "";
    redraw();
    const { pixel, matches, case: kind } = model.get("answer"), best = matches[0];
    Object.assign(root.dataset, {
      seq: model.get("seq"), pixel: pixel.join(), n: matches.length, case: kind,
      matches: matches.map((match) => `${match.y},${match.x}`).join(" "),
      best: best ? `${best.y},${best.x}` : "", ms: (performance.now() - asked).toFixed(1),
    });
    player.goOn();
  }

  model.on("change:seq", answered);
  const observer = new ResizeObserver(redraw);
  observer.observe(root);
  Promise.all(clip.images.map((image) => createImageBitmap(new Blob([image], { type: "image/png" })))).then((all) => {
    stage.images = all;
    answered();
  });
  return () => {
    player.stop();
    clearTimeout(waiting);
    observer.disconnect();
    model.off("change:seq", answered);
  };
}

export default { render };
