// Holds dashboards against Grafana's own types: check.mjs FILE.json...
// Prints what is wrong, a line a fault; ends with 1 if anything is.
// It must lie where its packages are: scripts/install-grafana-schema puts both into .cache.
import Ajv from 'ajv';
import { readFileSync } from 'node:fs';
import { createGenerator } from 'ts-json-schema-generator';

const beside = (name) => new URL(name, import.meta.url).pathname;

const schema = createGenerator({
    path: beside('dashboard.ts'),
    type: 'Dashboard',
    tsconfig: beside('tsconfig.json'),
    additionalProperties: false,
    // Names are used twice among Grafana's types; without names there is no clash.
    expose: 'none',
}).createSchema('Dashboard');
const validate = new Ajv.default({ strict: false, allErrors: true }).compile(schema);

let faults = 0;
for (const file of process.argv.slice(2)) {
    const page = JSON.parse(readFileSync(file, 'utf8'));
    if (!validate(page)) {
        for (const line of new Set(own(validate.errors).map(inWords))) {
            console.error(`${file}: ${line}`);
            faults += 1;
        }
    }
}
process.exitCode = faults > 0 ? 1 : 0;

// A panel is refused by every kind of panel; only what its own kind says is of use.
function own(errors) {
    const kind = ({ instancePath, schemaPath }) =>
        `${instancePath.match(/^\/panels\/\d+/)} ${schemaPath.match(/items\/anyOf\/\d+/)}`;
    const others = new Set(errors.filter((e) => /^\/panels\/\d+\/type$/.test(e.instancePath)).map(kind));
    const left = errors.filter((error) => !others.has(kind(error)) && error.keyword !== 'anyOf');
    return left.length > 0 ? left : errors;
}

function inWords({ instancePath, message, params }) {
    return `${instancePath} ${message} ${JSON.stringify(params)}`;
}
