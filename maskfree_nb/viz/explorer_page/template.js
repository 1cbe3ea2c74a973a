// The page, before anything is drawn on it.

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
