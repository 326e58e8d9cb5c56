import { describe, expect, it } from 'vitest';
import { Playhead } from '../src/player/playhead';
import type { Look } from '../src/player/playhead';
import { clock, fromAge, isPresent, placeMs, positionOf, shortPlace, spokenPlace, stepFrom } from '../src/player/timeline';
import { withStart } from '../src/player/source/start_tag';
import type { Timeline } from '../src/player/timeline';

const back = (behindMs: number, windowMs = 600_000): Timeline => ({ kind: 'live', behindMs, windowMs, rewound: true });
const recording: Timeline = { kind: 'recording', atMs: 65_000, lengthMs: 3_723_000 };

describe('the bar', () => {
  it('ends at the present, and who did not go back is there however late the way is', () => {
    expect(placeMs({ kind: 'live', behindMs: 2_400, windowMs: 60_000, rewound: false })).toBe(60_000);
    expect(placeMs(back(20_000))).toBe(580_000);
    expect(placeMs(recording)).toBe(65_000);
  });

  it('is as long as the stream is old, as the playlist went back, and not there at all at first', () => {
    expect(fromAge(null, null)).toBeNull();
    expect(fromAge(9_000, null)).toBeNull();
    expect(fromAge(90_000, null)).toMatchObject({ windowMs: 90_000, behindMs: 0 });
    expect(fromAge(90_000_000, null)).toMatchObject({ windowMs: 7_200_000 });
    expect(fromAge(90_000, 24_000)).toMatchObject({ windowMs: 24_000 });
  });

  it('is not left by steps', () => {
    expect([stepFrom(back(20_000), 580_000, -10_000), stepFrom(back(20_000), 580_000, 30_000), stepFrom(recording, 4_000, -5_000)]).toEqual([570_000, 600_000, 0]);
  });

  it('says where it is', () => {
    expect([580_000, 599_000, 516_500].map((at) => shortPlace(back(0), at))).toEqual(['−0:20', 'Live', '−1:24']);
    expect(spokenPlace(back(0), 579_000)).toBe('21 seconds behind live');
    expect(spokenPlace(back(0), 600_000)).toBe('Live');
    expect(spokenPlace(recording, 65_000)).toBe('1 minute 5 seconds of 1 hour 2 minutes 3 seconds');
    expect(shortPlace(recording, 3_723_000)).toBe('1:02:03');
    expect(isPresent(recording, 3_723_000)).toBe(false);
    expect(clock(0)).toBe('0:00');
  });
});

describe('the place of a date', () => {
  const segment = (start: number, programDateTime: number | null): { start: number; duration: number; programDateTime: number | null } => ({ start, duration: 2, programDateTime });
  const segments = [segment(10, 100_000), segment(12, 102_000), segment(14, 110_000)];
  it.each([
    [100_000, 10],
    [103_500, 13.5],
    // While the encoder was away.
    [107_000, 14],
    [111_000, 15],
    // Before all, after all.
    [5, 10],
    [999_000, 16],
  ])('%i', (date, position) => {
    expect(positionOf(segments, date)).toBe(position);
  });

  it('is nowhere in a playlist without dates', () => {
    expect(positionOf([segment(0, null)], 5)).toBeNull();
    expect(positionOf([], 5)).toBeNull();
  });
});

describe('the playhead', () => {
  const NOW = 1_000_000;
  const look = (over: Partial<Look> = {}): Look => ({ now: NOW, startedAt: NOW - 300_000, dates: null, seeking: false, rewound: false, ...over });

  it('knows by the age of the stream how far one can go back, until a playlist says better; and remembers that', () => {
    const head = new Playhead();
    expect(head.look(look())).toMatchObject({ windowMs: 300_000, behindMs: 0, rewound: false });
    head.look(look({ rewound: true, dates: { shown: NOW - 12_000, oldest: NOW - 20_000 } }));
    expect(head.look(look({ now: NOW + 60_000 }))).toMatchObject({ windowMs: 20_000 });
    head.look(look({ dates: { shown: NOW, oldest: NOW - 299_000 } }));
    expect(head.look(look({ now: NOW + 60_000 }))).toMatchObject({ windowMs: 360_000 });
  });

  it('is where the viewer wants it until the picture is there, and says the truth if it never gets there', () => {
    const head = new Playhead();
    head.want(NOW - 60_000, NOW);
    expect(head.look(look({ rewound: true }))).toMatchObject({ behindMs: 60_000 });
    expect(head.from).toBe(NOW - 60_000);
    const stuck = { shown: NOW - 5_000, oldest: NOW - 290_000 };
    expect(head.look(look({ now: NOW + 9_000, rewound: true, seeking: true, dates: stuck }))).toMatchObject({ behindMs: 69_000 });
    expect(head.look(look({ now: NOW + 11_000, rewound: true, seeking: true, dates: stuck }))).toMatchObject({ behindMs: 16_000 });
    head.want(NOW - 60_000, NOW);
    expect(head.look(look({ rewound: true, dates: { shown: NOW - 59_000, oldest: NOW - 290_000 } }))).toMatchObject({ behindMs: 59_000 });
  });

  it('begins anew where it was, and at the present after that', () => {
    const head = new Playhead();
    head.want(NOW - 60_000, NOW);
    head.look(look({ rewound: true, dates: { shown: NOW - 59_500, oldest: 0 } }));
    head.look(look({ now: NOW + 5_000, rewound: true, dates: { shown: NOW - 54_500, oldest: 0 } }));
    expect(head.from).toBe(NOW - 54_500);
    head.toPresent();
    expect(head.from).toBeNull();
  });
});

it('the wish to begin in the past is the last word of the multivariant playlist', () => {
  expect(withStart('#EXTM3U\nvideo/index.m3u8\n', 20_250)).toBe('#EXTM3U\nvideo/index.m3u8\n#EXT-X-START:TIME-OFFSET=-20.250,PRECISE=YES\n');
});
