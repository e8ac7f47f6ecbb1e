// The shape that `check.mjs` holds our dashboards against, put together from Grafana's own types: the classic dashboard,
// each panel with the options and field options of its plugin, and Prometheus queries. Everything not named is refused.
import * as dashboard from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import * as gauge from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import * as piechart from '@grafana/schema/dist/esm/raw/composable/piechart/panelcfg/x/PieChartPanelCfg_types.gen';
import * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import { DataQuery } from '@grafana/schema';

type Replace<T, U> = Omit<T, keyof U> & U;

interface PrometheusQuery extends DataQuery {
    datasource: dashboard.DataSourceRef;
    editorMode: 'code';
    expr: string;
    format: 'time_series' | 'table' | 'heatmap';
    instant: boolean;
    legendFormat: string;
    range: boolean;
}

interface Fields<Custom> {
    defaults: Replace<dashboard.FieldConfig, { custom?: Custom }>;
    overrides: dashboard.FieldConfigSource['overrides'];
}

type Panel<Type, Options, Custom> = Replace<dashboard.Panel, {
    type: Type;
    id: number;
    title: string;
    description: string;
    gridPos: dashboard.GridPos;
    options: Options;
    fieldConfig: Fields<Custom>;
    targets: Array<PrometheusQuery>;
}>;

type AnyPanel =
    | Panel<'bargauge', bargauge.Options, never>
    | Panel<'gauge', gauge.Options, never>
    | Panel<'heatmap', heatmap.Options, heatmap.FieldConfig>
    | Panel<'piechart', piechart.Options, piechart.FieldConfig>
    | Panel<'stat', stat.Options, never>
    | Panel<'table', table.Options, table.FieldConfig>
    | Panel<'timeseries', timeseries.Options, timeseries.FieldConfig>
    | dashboard.RowPanel;

export type Dashboard = Replace<dashboard.Dashboard, {
    title: string;
    uid: string;
    refresh: string;
    schemaVersion: 42;
    panels: Array<AnyPanel>;
}>;
