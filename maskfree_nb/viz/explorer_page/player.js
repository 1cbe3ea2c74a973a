// Playing the tube: frame pair after frame pair, or along the best match.

function playerOf({ model, clip, find, ask }) {
  let playing = null;

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

  return {
    stop,
    goOn() { if (playing) playing = setTimeout(step, 700); },
  };
}
