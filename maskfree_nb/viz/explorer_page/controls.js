// The controls: the sliders, and the switches of view and version.

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

function controlsOf({ model, clip, root, find, ask, redraw }, stage) {
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
      stage.zoom = value;
      redraw();
    });
    find(".mf-sliders").append(row);
  }
  for (const name of ["view", "version"])
    for (const button of root.querySelectorAll(`[data-${name}]`))
      button.addEventListener("click", () => ask({ [name]: button.dataset[name] }));
  find("[data-view=loss]").hidden = !clip.hasMasks;
  find(".mf-truth").hidden = !clip.hasTruth && clip.boxes.length === 0;
  find(".mf-truth span").textContent = [clip.hasTruth && "true masks", clip.boxes.length && "boxes"].filter(Boolean).join(", ");
  find(".mf-truth input").addEventListener("change", redraw);

  function show() {
    for (const [name] of SLIDERS) inputs[name].value = name === "zoom" ? stage.zoom : model.get(name);
    for (const name of ["view", "version"])
      for (const button of root.querySelectorAll(`[data-${name}]`))
        button.setAttribute("aria-pressed", String(button.dataset[name] === model.get(name)));
    const values = {
      pair: `${clip.pairs[model.get("pair")][0]} → ${clip.pairs[model.get("pair")][1]}`,
      threshold: model.get("threshold").toFixed(2),
      patch_size: `${model.get("patch_size")} × ${model.get("patch_size")}`,
      zoom: `${stage.zoom} ×`,
    };
    for (const row of root.querySelectorAll("[data-slider]")) {
      const name = row.dataset.slider;
      row.querySelector("output").textContent = values[name] ?? model.get(name);
      if (name === "instance") row.hidden = clip.instances < 2 || model.get("view") !== "loss";
    }
  }

  return { show };
}
