import { isHigherBetter, type Results } from './results.ts';

const ROW_HEIGHT = 26;
const LABEL_WIDTH = 420;
const PLOT_WIDTH = 420;
const DECADES = 3;
const COLOURS = { kernel: '#888888', fuse2fs: '#d95f02', fuse4fs: '#1b9e77' } as const;

/** Speed relative to kernel ext4 (1 = as fast) on a logarithmic axis, one dot per contender. */
export function plotSvg(results: Results): string {
  const rows = results.rows.filter((row) => row.values.has('kernel') && row.values.has('fuse4fs'));
  const height = ROW_HEIGHT * (rows.length + 3);
  const x = (relative: number): number => {
    const position = (Math.log10(relative) + DECADES) / (DECADES + 1);
    return LABEL_WIDTH + PLOT_WIDTH * Math.min(1, Math.max(0, position));
  };
  const parts: string[] = [];
  for (let decade = -DECADES; decade <= 1; decade++) {
    const at = x(10 ** decade);
    parts.push(`<line x1="${at}" y1="${ROW_HEIGHT * 2}" x2="${at}" y2="${height - ROW_HEIGHT}" stroke="#dddddd"/>`);
    parts.push(`<text x="${at}" y="${height - 8}" text-anchor="middle">${10 ** decade}</text>`);
  }
  rows.forEach((row, index) => {
    const y = ROW_HEIGHT * (index + 2) + ROW_HEIGHT / 2;
    parts.push(`<text x="${LABEL_WIDTH - 10}" y="${y + 4}" text-anchor="end">${row.name}</text>`);
    const kernel = results.median(row, 'kernel') ?? 1;
    for (const [name, colour] of Object.entries(COLOURS)) {
      const value = results.median(row, name);
      if (value === undefined) continue;
      const relative = isHigherBetter(row.unit) ? value / kernel : kernel / value;
      parts.push(`<circle cx="${x(relative).toFixed(1)}" cy="${y}" r="5" fill="${colour}"/>`);
    }
  });
  Object.entries(COLOURS).forEach(([name, colour], index) => {
    const at = LABEL_WIDTH + index * 110;
    parts.push(`<circle cx="${at}" cy="${ROW_HEIGHT / 2}" r="5" fill="${colour}"/>`);
    parts.push(`<text x="${at + 10}" y="${ROW_HEIGHT / 2 + 4}">${name}</text>`);
  });
  parts.push(`<text x="${LABEL_WIDTH}" y="${ROW_HEIGHT + 14}" fill="#666666">speed relative to kernel ext4</text>`);
  const width = LABEL_WIDTH + PLOT_WIDTH + 30;
  const attributes = `width="${width}" height="${height}" font-family="sans-serif" font-size="12"`;
  const background = '<rect width="100%" height="100%" fill="white"/>';
  return `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${background}${parts.join('')}</svg>\n`;
}
