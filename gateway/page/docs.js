// The description of the API, from openapi.json alone.

const node = (name, text = "", ...children) => {
  const made = Object.assign(document.createElement(name), { textContent: text });
  made.append(...children);
  return made;
};

const row = (...cells) => node("tr", "", ...cells.map((cell) => node("td", cell)));

function table(title, rows) {
  return rows.length ? [node("h3", title), node("table", "", ...rows.map((cells) => row(...cells)))] : [];
}

function typeOf({ type, anyOf, default: usual }) {
  const names = (anyOf ?? [{ type }]).map((each) => each.type).filter((name) => name !== "null").join(" or ");
  return usual === undefined || usual === null ? names : `${names}, default ${usual}`;
}

function curl(method, path) {
  const url = new URL(path, location.href);
  return method === "post" ? `curl --data-binary @photo.jpg '${url}?bbox_threshold=0.4&describe=true'` : `curl '${url}'`;
}

function operation(path, method, { summary, description = "", parameters = [], requestBody, responses }) {
  const section = node("section", "", node("h2", "", node("b", method.toUpperCase()), path), node("p", description || summary));
  section.append(
    node("pre", curl(method, path)),
    ...table("Query", parameters.map(({ name, schema, description: text }) => [name, typeOf(schema), text ?? ""])),
    ...table("Body, one of", Object.keys(requestBody?.content ?? {}).map((kind) => [kind, bodyText(requestBody.content[kind])])),
    ...table("Answers", Object.entries(responses).map(([status, { description: text }]) => [status, text])),
  );
  return section;
}

function bodyText({ schema: { properties } }) {
  return properties ? `fields: ${Object.keys(properties).join(", ")}` : "the picture itself";
}

const api = await (await fetch("openapi.json")).json();
const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, about]) => operation(path, method, about)));
document.getElementById("api").append(node("p", api.info.description), ...operations);
