import { GatewayClient, gatewayUrl } from '../gateway/client';
import { Identity } from '../access/identity';
import { Pass } from '../access/pass';
import { debugState } from '../player/debug';
import type { DebugState } from '../player/debug';
import { Player } from '../player/player';
import type { Preference } from '../player/path';
import { options, storeQuality, storedQuality } from '../player/quality';
import type { Quality } from '../player/quality';
import { badge, hasPicture, phase } from '../player/state';
import type { PlayerState } from '../player/state';
import { cardFor } from './card';
import type { Act } from './card';
import css from './element.css?inline';
import { ICONS } from './icons';
import { Idle } from './idle';
import { QualityMenu } from './quality_menu';
import { SeekBar } from './seek_bar';
import { limit } from './stats';
import { StatsPanel } from './stats_panel';
import { TEMPLATE } from './template';

declare global {
  interface Window {
    __swiftwater?: DebugState;
  }
}

/** Safari's own ways to full screen and picture in picture. */
interface AppleVideo extends HTMLVideoElement {
  webkitEnterFullscreen?(): void;
}

const VOLUME_STEP = 0.1;
const VOLUME_KEY = 'swiftwater.volume';

/**
 * `<swiftwater-player channel="ana">`: the picture, its controls and its words.
 *
 * `via` is `auto` (or missing), `webrtc`, `whep` or `hls`; `grant` is a token that opens the channel. The properties `gateway`
 * and `pass` lend it a page's own; without them the element makes its own. Events: `change` (detail: PlayerState), `theatre`,
 * `follow` (this viewer follows the channel now), `signin` (the button was pressed; unless prevented, the page goes there).
 */
export class SwiftwaterPlayer extends HTMLElement {
  gateway: GatewayClient | null = null;
  pass: Pass | null = null;
  #ownGateway: GatewayClient | null = null;
  #ownPass: Pass | null = null;
  /** Why what a button of the card was to do did not come about. */
  #trouble = '';
  #player: Player | null = null;
  #parts = new Map<string, HTMLElement>();
  #idle: Idle;
  #undo: (() => void)[] = [];
  #said = '';
  #stats: StatsPanel;
  #menu: QualityMenu;
  #seek: SeekBar;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.innerHTML = TEMPLATE;
    // A constructed sheet passes a strict Content-Security-Policy; a <style> element would not.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    root.adoptedStyleSheets = [sheet];
    for (const element of root.querySelectorAll<HTMLElement>('[data-part]')) this.#parts.set(element.dataset.part ?? '', element);
    this.#stats = new StatsPanel(this.#part('stats'), this.#part('statsLines'), this.#part('statsToggle'), () => this.#player);
    this.#seek = new SeekBar(this.#part('seek'), this.#part('time'), this.#part<HTMLButtonElement>('golive'), () => this.#player);
    this.#menu = new QualityMenu(this.#part('qualityBox'), (quality) => {
      try {
        storeQuality(sessionStorage, quality);
      } catch {
        // Storage may be off; the choice lasts as long as the page then.
      }
      this.#player?.choose(quality);
    });
    this.#idle = new Idle(this, this.#part('bar'));
    this.#wire();
  }

  get player(): Player | null {
    return this.#player;
  }

  connectedCallback(): void {
    const via = this.getAttribute('via') ?? 'auto';
    const preference: Preference = via === 'hls' ? 'hls' : via === 'webrtc' ? 'webrtc' : 'auto';
    let gateway = this.gateway;
    if (gateway === null) gateway = this.#ownGateway = new GatewayClient(gatewayUrl(location), { speaker: new Identity() });
    let { pass } = this;
    if (pass === null) pass = this.#ownPass = new Pass(this.getAttribute('channel') ?? '', this.getAttribute('grant'));
    const stage = this.shadowRoot?.querySelector('.stage');
    const wings = this.shadowRoot?.querySelector('.wings');
    const still = document.createElement('canvas');
    this.#player = new Player({
      pass,
      gateway,
      preference,
      whep: via === 'whep',
      volume: storedVolume(),
      quality: sessionQuality(),
      stage: (video, before) => {
        // Within one task a move does not pause the element.
        stage?.append(video);
        before?.remove();
        still.remove();
      },
      freeze: (video) => {
        if (video.videoWidth === 0 || stage === null || stage === undefined) return;
        still.width = video.videoWidth;
        still.height = video.videoHeight;
        still.getContext('2d')?.drawImage(video, 0, 0);
        stage.append(still);
      },
      wing: (video) => wings?.append(video),
      changed: (state) => this.#render(state),
    });
    window.__swiftwater = debugState(this.#player);
    this.#undo.push(on(document, 'keydown', (event) => this.#key(event as KeyboardEvent)));
    this.#player.start();
    this.#render(this.#player.state);
  }

  disconnectedCallback(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#stats.toggle(false);
    this.#player?.stop();
    this.#player = null;
    this.#ownGateway?.stop();
    this.#ownGateway = null;
    this.#ownPass?.stop();
    this.#ownPass = null;
    delete window.__swiftwater;
  }

  #part<T extends HTMLElement = HTMLElement>(name: string): T {
    const part = this.#parts.get(name);
    if (part === undefined) throw new Error(`the template has no part ${name}`);
    return part as T;
  }

  #wire(): void {
    const click = (name: string, then: () => void): void => this.#part(name).addEventListener('click', then);
    click('play', () => this.#togglePlay());
    click('mute', () => this.#toggleMute());
    click('unmute', () => this.#player?.setMuted(false));
    click('theatre', () => this.#emit('theatre'));
    click('fullscreen', () => void this.#toggleFullscreen());
    click('pip', () => void this.#togglePip());
    click('statsToggle', () => this.#stats.toggle());
    click('help', () => this.#part<HTMLDialogElement>('helpDialog').showModal());
    click('surface', () => this.#tap());
    for (const name of ['cardFirst', 'cardSecond']) click(name, () => void this.#act(this.#part(name).dataset.act as Act));
    this.#part('surface').addEventListener('dblclick', () => void this.#toggleFullscreen());
    const volume = this.#part<HTMLInputElement>('volume');
    volume.addEventListener('input', () => this.#setVolume(volume.valueAsNumber / 100));
    this.#part('pip').hidden = !document.pictureInPictureEnabled;
  }

  /** A button of the card. */
  async #act(act: Act): Promise<void> {
    const pass = this.pass ?? this.#ownPass;
    this.#trouble = '';
    switch (act) {
      case 'sign_in': {
        const wanted = new CustomEvent('signin', { bubbles: true, composed: true, cancelable: true });
        if (this.dispatchEvent(wanted)) location.assign(signInAddress(location));
        return;
      }
      case 'home':
        location.assign('/');
        return;
      case 'look':
        this.#player?.tryAgain();
        return;
      case 'watch_last':
      case 'watch_again': {
        const recording = this.#player?.state.recording?.is ?? this.#player?.state.recordings?.[0];
        if (recording !== undefined) this.#player?.playRecording(recording);
        return;
      }
      case 'leave_recording':
        this.#player?.goToPresent();
        return;
      case 'follow':
        try {
          await pass?.follow();
          this.#emit('follow');
        } catch (error) {
          this.#trouble = error instanceof Error ? error.message : String(error);
          if (this.#player !== null) this.#render(this.#player.state);
        }
    }
  }

  /** A tap anywhere on the picture: sound first, where sound waits for it. */
  #tap(): void {
    const state = this.#player?.state;
    if (state === undefined || !hasPicture(state)) return;
    if (state.autoplay !== 'ok' && state.muted) this.#player?.setMuted(false);
    else if (matchMedia('(hover: hover)').matches) this.#togglePlay();
  }

  #togglePlay(): void {
    const video = this.#player?.video;
    if (video === null || video === undefined) return;
    if (video.paused) {
      const state = this.#player?.state;
      if (state?.recording === null && !state.path.rewound) jumpToLive(video);
      void this.#player?.play();
    } else {
      video.pause();
    }
  }

  #toggleMute(): void {
    const player = this.#player;
    if (player !== null) player.setMuted(!player.state.muted);
  }

  #setVolume(volume: number): void {
    const video = this.#player?.video;
    if (video === null || video === undefined) return;
    video.volume = Math.min(1, Math.max(0, volume));
    this.#player?.setMuted(video.volume === 0);
    try {
      localStorage.setItem(VOLUME_KEY, String(video.volume));
    } catch {
      // Storage may be off; the volume lasts as long as the page then.
    }
  }

  async #toggleFullscreen(): Promise<void> {
    const video: AppleVideo | null | undefined = this.#player?.video;
    try {
      if (document.fullscreenElement !== null) await document.exitFullscreen();
      else if (document.fullscreenEnabled) await this.requestFullscreen();
      else video?.webkitEnterFullscreen?.();
    } catch {
      // Refused by the browser (an embed without permission): nothing to repair.
    }
  }

  async #togglePip(): Promise<void> {
    try {
      if (document.pictureInPictureElement !== null) await document.exitPictureInPicture();
      else await this.#player?.video?.requestPictureInPicture();
    } catch {
      // As above.
    }
  }

  #key(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typesText(event)) return;
    if (this.#part<HTMLDialogElement>('helpDialog').open) return;
    const onButton = event.composedPath()[0] instanceof HTMLButtonElement || event.composedPath()[0] instanceof HTMLAnchorElement;
    const inside = event.composedPath().includes(this);
    switch (event.key) {
      case ' ':
        // Space belongs to the button that has the focus.
        if (onButton) return;
        this.#togglePlay();
        break;
      case 'k':
        this.#togglePlay();
        break;
      case 'm':
        this.#toggleMute();
        break;
      case 'f':
        void this.#toggleFullscreen();
        break;
      case 'q':
        if (!this.#menu.toggle()) return;
        break;
      case 't':
        this.#emit('theatre');
        break;
      case 's':
        this.#stats.toggle();
        break;
      case 'j':
        this.#player?.seekBy(-10_000);
        break;
      case 'l':
        this.#player?.seekBy(10_000);
        break;
      case 'ArrowLeft':
      case 'ArrowRight':
      case 'Home':
      case 'End':
        // Elsewhere on the page they scroll.
        if ((!inside && document.activeElement !== document.body) || this.#player === null) return;
        if (event.key === 'Home') this.#player.seekTo(0);
        else if (event.key === 'End') this.#player.seekTo(Number.POSITIVE_INFINITY);
        else this.#player.seekBy(event.key === 'ArrowLeft' ? -5_000 : 5_000);
        break;
      case '?':
        this.#part<HTMLDialogElement>('helpDialog').showModal();
        break;
      case 'ArrowUp':
      case 'ArrowDown': {
        // Elsewhere on the page the arrows scroll.
        if (!inside && document.activeElement !== document.body) return;
        const state = this.#player?.state;
        if (state === undefined) return;
        const from = state.muted ? 0 : state.volume;
        this.#setVolume(from + (event.key === 'ArrowUp' ? VOLUME_STEP : -VOLUME_STEP));
        break;
      }
      default:
        return;
    }
    event.preventDefault();
    this.#idle.wake();
  }

  #emit(type: string, detail?: PlayerState): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  #render(state: PlayerState): void {
    const now = phase(state);
    this.dataset.phase = now;
    this.dataset.mode = state.recording !== null ? 'recording' : state.path.shown;
    const picture = hasPicture(state);

    const label = badge(state);
    this.#part('badge').hidden = label === null;
    this.#part('badgeShort').textContent = label?.short ?? '';
    this.#part('badgeWhy').textContent = label?.why ?? '';
    this.#part('dot').dataset.way = this.dataset.mode;
    this.#part('badge').title = 'How the picture comes, and how long after the server received it.';
    this.#part('live').hidden = !(picture && state.recording === null && !state.path.rewound && (now === 'playing' || now === 'paused'));

    const words = cardFor(state, Date.now());
    const kept = picture && state.path.shown === 'webrtc' ? limit(state.cap) : null;
    this.#part('busy').hidden = kept === null;
    this.#part('busy').textContent = kept ?? '';
    this.#part('card').hidden = words === null;
    this.#part('cardTitle').textContent = words?.title ?? '';
    this.#part('cardText').textContent = words?.text ?? '';
    for (const [at, name] of ['cardFirst', 'cardSecond'].entries()) {
      const button = words?.buttons[at];
      this.#part(name).hidden = button === undefined;
      this.#part(name).textContent = button?.label ?? '';
      this.#part(name).dataset.act = button?.act ?? '';
    }
    if (now !== 'denied') this.#trouble = '';
    this.#part('cardTrouble').textContent = this.#trouble;
    this.#part('wave').classList.toggle('flows', words?.busy ?? false);

    const wantsTap = picture && words === null && (state.autoplay === 'blocked' || (state.autoplay === 'muted' && state.muted));
    this.#part('unmute').hidden = !wantsTap;
    this.#part('unmuteText').textContent = state.autoplay === 'blocked' ? 'Tap to play' : 'Tap to unmute';

    this.#part('bar').hidden = !picture;
    setButton(this.#part('play'), state.paused ? ICONS.play : ICONS.pause, state.paused ? 'Play (k)' : 'Pause (k)');
    setButton(this.#part('mute'), state.muted ? ICONS.muted : ICONS.sound, state.muted ? 'Sound on (m)' : 'Sound off (m)');
    const volume = this.#part<HTMLInputElement>('volume');
    const level = state.muted ? 0 : Math.round(state.volume * 100);
    volume.value = String(level);
    volume.style.setProperty('--level', `${level}%`);

    this.#seek.render(state.timeline, state.liveness === 'live' || state.liveness === 'away');
    this.#menu.render(options(state.layers, state.quality));
    this.#say(words?.title ?? kept ?? (label === null ? '' : state.recording !== null ? 'Playing a recording' : `Playing by ${state.path.shown === 'webrtc' ? 'WebRTC' : 'HLS'} ${label.why ?? ''}`));
    this.#emit('change', state);
  }

  /** For screen readers: states, not the ticking figure. */
  #say(words: string): void {
    if (words === this.#said) return;
    this.#said = words;
    this.#part('status').textContent = words;
  }
}

function setButton(button: HTMLElement, icon: string, label: string): void {
  if (button.getAttribute('aria-label') === label) return;
  button.innerHTML = icon;
  button.setAttribute('aria-label', label);
  button.title = label;
}

/** After a pause a viewer wants the present, not what was missed. */
function jumpToLive(video: HTMLVideoElement): void {
  if (video.srcObject !== null || video.seekable.length === 0) return;
  const edge = video.seekable.end(video.seekable.length - 1);
  if (edge - video.currentTime > 8) video.currentTime = edge - 3;
}

/** Where one signs in, and comes back from to this page. */
export function signInAddress(here: { pathname: string; search: string }): string {
  return `/account?then=${encodeURIComponent(here.pathname + here.search)}`;
}

function typesText(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return target.type !== 'range' || event.key.startsWith('Arrow');
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

function sessionQuality(): Quality {
  try {
    return storedQuality(sessionStorage);
  } catch {
    return 'auto';
  }
}

function storedVolume(): number {
  try {
    const stored = Number(localStorage.getItem(VOLUME_KEY) ?? '1');
    return stored > 0 && stored <= 1 ? stored : 1;
  } catch {
    return 1;
  }
}

function on(target: EventTarget, type: string, then: (event: Event) => void): () => void {
  target.addEventListener(type, then);
  return () => target.removeEventListener(type, then);
}

if (!customElements.get('swiftwater-player')) customElements.define('swiftwater-player', SwiftwaterPlayer);
