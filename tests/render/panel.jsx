// Turns a panel of a dashboard and its series into Grafana's TimeSeries component, as Grafana does.
import {
  applyFieldOverrides,
  createTheme,
  FieldConfigOptionsRegistry,
  FieldType,
  identityOverrideProcessor,
  ThemeContext,
  toDataFrame,
  dateTime,
} from '@grafana/data';
import { GlobalStyles, PanelChrome, TimeSeries, TooltipDisplayMode } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

const theme = createTheme();

// Grafana's own registry is not exported: what is not listed here is not applied.
function registry(panel) {
  const own = ['unit', 'decimals', 'min', 'max', 'color', 'thresholds', 'displayName', 'noValue'];
  const custom = new Set(Object.keys(panel.fieldConfig.defaults.custom ?? {}));
  for (const override of panel.fieldConfig.overrides) {
    for (const { id } of override.properties) {
      if (id.startsWith('custom.')) {
        custom.add(id.slice('custom.'.length));
      }
    }
  }
  const item = (id, path, isCustom) => ({
    id,
    path,
    name: id,
    isCustom,
    override: () => null,
    editor: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
  });
  return new FieldConfigOptionsRegistry(() => [
    ...own.map((id) => item(id, id, false)),
    ...[...custom].map((id) => item(`custom.${id}`, id, true)),
  ]);
}

function framesOf({ panel, frames }) {
  const made = frames.map(({ refId, name, times, values }) =>
    toDataFrame({
      refId,
      name,
      fields: [
        { name: 'Time', type: FieldType.time, values: times.map((t) => t * 1000) },
        { name: 'Value', type: FieldType.number, values, config: { displayNameFromDS: name } },
      ],
    })
  );
  return applyFieldOverrides({
    data: made,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry(panel),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}

let root;

window.draw = (given) =>
  new Promise((resolve) => {
    const { panel, width, height, from, to } = given;
    const range = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
    const frames = framesOf(given);
    // Called by uPlot itself, once everything is drawn.
    const ready = (u) =>
      requestAnimationFrame(() =>
        resolve({
          title: panel.title,
          series: u.series.length - 1,
          bands: u.bands.map((band) => band.series.map((at) => u.series[at].label ?? String(at))),
          names: frames.map((frame) => frame.fields[1].state?.displayName ?? frame.name),
        })
      );
    root?.unmount();
    root = createRoot(document.getElementById('root'));
    root.render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <PanelChrome width={width} height={height} title={panel.title}>
          {(innerWidth, innerHeight) => (
            <TimeSeries
              frames={frames}
              structureRev={1}
              timeRange={{ ...range, raw: range }}
              timeZone="utc"
              width={innerWidth}
              height={innerHeight}
              legend={panel.options.legend}
              options={{ legend: panel.options.legend, tooltip: { mode: TooltipDisplayMode.None } }}
            >
              {(config) => {
                config.addHook('ready', ready);
                return null;
              }}
            </TimeSeries>
          )}
        </PanelChrome>
      </ThemeContext.Provider>
    );
  });
