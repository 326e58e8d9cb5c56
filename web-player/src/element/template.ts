import { ICONS } from './icons';

const WAVE =
  '<svg viewBox="0 0 168 36" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round">' +
  '<path d="M0 12q14-14 28 0t28 0 28 0 28 0 28 0 28 0"/><path opacity=".55" d="M0 25q14-14 28 0t28 0 28 0 28 0 28 0 28 0"/></g></svg>';

/** The shadow tree. All text from outside enters it later, by `textContent`. */
export const TEMPLATE = `
<div class="wings" aria-hidden="true"></div>
<div class="stage"></div>
<div class="surface" data-part="surface"></div>
<div class="centre">
  <div class="card" data-part="card" hidden>
    <div class="wave" data-part="wave">${WAVE}</div>
    <h2 data-part="cardTitle"></h2>
    <p data-part="cardText"></p>
    <div class="acts"><button type="button" data-part="cardFirst" hidden></button><button type="button" data-part="cardSecond" hidden></button></div>
    <p class="trouble" role="alert" data-part="cardTrouble"></p>
  </div>
  <button class="unmute" data-part="unmute" type="button" hidden>${ICONS.muted}<span data-part="unmuteText"></span></button>
</div>
<div class="top">
  <span class="chip live" data-part="live" hidden>LIVE</span>
  <span class="chip" data-part="badge" hidden>
    <span class="dot" data-part="dot"></span><span data-part="badgeShort"></span><span class="why" data-part="badgeWhy"></span>
  </span>
  <span class="chip" data-part="busy" hidden></span>
</div>
<div class="bar" data-part="bar" role="group" aria-label="Player controls" hidden>
  <div class="seek" data-part="seek" hidden></div>
  <button type="button" data-part="play"></button>
  <button type="button" data-part="mute"></button>
  <input type="range" data-part="volume" min="0" max="100" step="5" aria-label="Volume" />
  <button type="button" class="golive" data-part="golive" hidden>LIVE</button>
  <span class="time" data-part="time"></span>
  <span class="space"></span>
  <span class="quality" data-part="qualityBox" hidden></span>
  <button type="button" data-part="statsToggle" aria-pressed="false" aria-controls="stats" aria-label="Statistics (s)" title="Statistics (s)">${ICONS.stats}</button>
  <button type="button" class="only-wide" data-part="help" aria-label="Keyboard shortcuts (?)" title="Keyboard shortcuts (?)">${ICONS.help}</button>
  <button type="button" class="only-wide" data-part="theatre" aria-label="Theatre mode (t)" title="Theatre mode (t)">${ICONS.theatre}</button>
  <button type="button" data-part="pip" aria-label="Picture in picture" title="Picture in picture">${ICONS.pip}</button>
  <button type="button" data-part="fullscreen" aria-label="Full screen (f)" title="Full screen (f)">${ICONS.fullscreen}</button>
</div>
<section class="stats" id="stats" data-part="stats" aria-label="Statistics" hidden><dl data-part="statsLines"></dl></section>
<div class="hearing" role="status" data-part="status"></div>
<dialog data-part="helpDialog" aria-labelledby="help-title">
  <h2 id="help-title">Keyboard shortcuts</h2>
  <dl>
    <dt><kbd>k</kbd> <kbd>Space</kbd></dt><dd>Play or pause</dd>
    <dt><kbd>←</kbd> <kbd>→</kbd></dt><dd>Back, on: 5 seconds</dd>
    <dt><kbd>j</kbd> <kbd>l</kbd></dt><dd>Back, on: 10 seconds</dd>
    <dt><kbd>Home</kbd> <kbd>End</kbd></dt><dd>As far back as it goes; live</dd>
    <dt><kbd>m</kbd></dt><dd>Sound on or off</dd>
    <dt><kbd>↑</kbd> <kbd>↓</kbd></dt><dd>Volume</dd>
    <dt><kbd>q</kbd></dt><dd>Quality</dd>
    <dt><kbd>f</kbd></dt><dd>Full screen</dd>
    <dt><kbd>t</kbd></dt><dd>Theatre mode</dd>
    <dt><kbd>s</kbd></dt><dd>Statistics</dd>
    <dt><kbd>?</kbd></dt><dd>This help</dd>
  </dl>
  <form method="dialog"><button>Close</button></form>
</dialog>`;
