// Shows the OpenAPI document as a page from which every operation can be tried.
const main = document.getElementById('operations');
const token = document.getElementById('token');
const make = (tag, text = '') => Object.assign(document.createElement(tag), { textContent: text });

const openapi = await (await fetch('/api/v1/openapi.json')).json();
const resolve = (schema) =>
  schema?.$ref ? openapi.components.schemas[schema.$ref.split('/').pop()] : schema;

function example(schema) {
  const it = resolve(schema) ?? {};
  const type = Array.isArray(it.type) ? it.type[0] : it.type;
  if (type === 'object')
    return Object.fromEntries(Object.entries(it.properties ?? {}).map(([name, inner]) => [name, example(inner)]));
  if (type === 'array') return [example(it.items)];
  return { string: '', integer: 0, number: 0, boolean: false }[type] ?? null;
}

function field(form, name, value) {
  const label = make('label', name + ' ');
  const input = Object.assign(make(value === undefined ? 'input' : 'textarea'), { name });
  if (value !== undefined) Object.assign(input, { value, rows: 6 });
  label.append(input);
  form.append(label);
  return input;
}

function operation(path, method, it) {
  const details = make('details');
  const summary = make('summary');
  summary.append(make('b', method.toUpperCase()), make('code', path), make('span', it.summary ?? ''));
  const form = make('form');
  const inputs = (it.parameters ?? []).map((parameter) => [parameter, field(form, parameter.name)]);
  const schema = it.requestBody?.content?.['application/json']?.schema;
  const body = schema && field(form, 'body', JSON.stringify(example(schema), null, 2));
  form.append(make('button', 'Send'));
  const answer = make('pre');
  form.onsubmit = async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    const headers = {};
    if (token.value) headers.authorization = `Bearer ${token.value}`;
    if (body) headers['content-type'] = 'application/json';
    const suffix = query.size ? `?${query}` : '';
    const response = await fetch(url + suffix, { method: method.toUpperCase(), headers, body: body?.value });
    answer.textContent = `${response.status} ${response.statusText}\n${await response.text()}`;
  };
  details.append(summary, form, answer);
  return details;
}

main.textContent = '';
const groups = new Map();
for (const [path, methods] of Object.entries(openapi.paths))
  for (const [method, it] of Object.entries(methods)) {
    const tag = it.tags?.[0] ?? 'other';
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push(operation(path, method, it));
  }
for (const [tag, operations] of groups) main.append(make('h2', tag), ...operations);
