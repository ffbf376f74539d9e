// Draws time-series panels with Grafana's own component in headless Chromium.
//
//   node render.mjs panels.json out/    writes out/<n>.png and prints what was drawn as JSON
//
// panels.json is a list of {panel, frames, width, height, from, to}: a panel of a dashboard, and
// for each of its queries the series as {refId, name, times, values}.
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { chromium as driver } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const [panelsFile, out] = process.argv.slice(2);
const panels = JSON.parse(readFileSync(panelsFile, 'utf8'));
mkdirSync(out, { recursive: true });

const bundle = buildSync({
  absWorkingDir: here,
  entryPoints: ['panel.jsx'],
  bundle: true,
  write: false,
  format: 'iife',
  jsx: 'automatic',
  loader: { '.svg': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.png': 'dataurl', '.ttf': 'dataurl' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  outdir: 'memory',
  logLevel: 'error',
}).outputFiles;
const [script, style] = ['.js', '.css'].map((end) => bundle.find((f) => f.path.endsWith(end)).text);

async function executable() {
  if (process.env.CHROMIUM) {
    return [process.env.CHROMIUM, []];
  }
  const { default: shipped } = await import('@sparticuz/chromium');
  return [await shipped.executablePath(), shipped.args];
}

const [path, args] = await executable();
const browser = await driver.launch({
  executablePath: path,
  args: [...args, '--no-sandbox'],
});
const drawn = [];
const PAGE = '<!doctype html><body style="margin:0"><div id="root"></div></body>';
try {
  const page = await browser.newPage({ locale: 'en-US', viewport: { width: 1240, height: 500 } });
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  // The components keep settings in the storage of a site; a blank page has none. Nothing is fetched.
  await page.route('**', (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
  await page.goto('http://localhost/');
  await page.addStyleTag({ content: style });
  await page.addScriptTag({ content: script });
  if (errors.length) {
    throw new Error(`the page does not load: ${errors}`);
  }
  for (const [number, given] of panels.entries()) {
    const shown = await page.evaluate((one) => window.draw(one), given);
    const { width, height } = given;
    await page.screenshot({ path: join(out, `${number}.png`), clip: { x: 0, y: 0, width, height } });
    drawn.push({ ...shown, errors: errors.splice(0) });
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(drawn));
