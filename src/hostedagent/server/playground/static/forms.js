// A form made from a JSON schema. What a schema says that a form cannot show is edited as JSON.

import { button, h } from "./dom.js";

let count = 0;

// Returns `{ element, value() }`; `value()` throws an Error that names the field when something is missing or wrong.
export function formOf(schema, root = schema) {
  return fieldOf("answer", resolved(schema, root), root, true, true);
}

function resolved(schema, root) {
  if (schema?.$ref?.startsWith("#/")) {
    const target = schema.$ref.slice(2).split("/").reduce((value, key) => value?.[key], root);
    return resolved({ ...target, ...schema, $ref: undefined }, root);
  }
  const { anyOf, oneOf, ...own } = schema ?? {};
  const some = (anyOf ?? oneOf)?.filter((option) => option.type !== "null");
  if (some?.length === 1) return { ...resolved(some[0], root), title: undefined, ...own, nullable: true };
  return schema ?? {};
}

function fieldOf(name, schema, root, required, outermost = false) {
  const label = schema.title ?? name;
  if (schema.enum || schema.const !== undefined) return choice(label, schema.enum ?? [schema.const], required, schema);
  switch (schema.type) {
    case "object":
      if (!schema.properties) break;
      return outermost || (required && !schema.nullable) ? group(label, schema, root, outermost) : optionalGroup(label, schema, root, required);
    case "array":
      if (!schema.items) break;
      return list(label, schema, root, required);
    case "boolean":
      if (schema.default == null && (!required || schema.nullable)) return choice(label, [true, false], required, schema);
      return checkbox(label, schema);
    case "integer":
    case "number":
      return number(label, schema, required);
    case "string":
      return text(label, schema, required);
  }
  return json(label, schema, required);
}

function labelled(label, control, schema, required = true) {
  const id = `field-${++count}`;
  control.id = id;
  const hint = schema.description ? h("p", { class: "hint", id: `${id}-hint` }, schema.description) : null;
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return h("div", { class: "field" }, h("label", { for: id }, label, isLeftOut(schema, required) ? optional() : null), control, hint);
}

function group(label, schema, root, outermost) {
  const wanted = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, inner]) => ({
    name,
    required: wanted.has(name),
    field: fieldOf(name, resolved(inner, root), root, wanted.has(name)),
  }));
  const elements = fields.map(({ field }) => field.element);
  const element = outermost ? h("div", {}, elements) : h("fieldset", {}, h("legend", {}, label), elements);
  const value = () => {
    const entries = fields.map(({ name, required, field }) => [name, field.value(), required]);
    return Object.fromEntries(entries.filter(([, given, required]) => required || given !== undefined));
  };
  return { element, value };
}

// A group that may be left out: its fields come with its box, so that a type may also contain itself.
function optionalGroup(label, schema, root, required) {
  let inner = null;
  const box = h("input", { type: "checkbox" });
  const holder = h("div", { hidden: true });
  box.addEventListener("change", () => {
    inner ??= group(label, schema, root, true);
    holder.replaceChildren(inner.element);
    holder.hidden = !box.checked;
  });
  const element = h("fieldset", {}, h("legend", {}, h("label", {}, box, ` ${label}`, optional())), holder);
  return { element, value: () => (box.checked ? inner.value() : nothing(schema, required)) };
}

function list(label, schema, root, required) {
  const rows = [];
  const first = required && resolved(schema.items, root).type !== "object" ? 1 : 0;
  const holder = h("div", {});
  const add = () => {
    const field = fieldOf(`${label} ${rows.length + 1}`, resolved(schema.items, root), root, true);
    const row = { field };
    row.element = h("div", { class: "row" }, field.element, button("Remove", () => {
      rows.splice(rows.indexOf(row), 1);
      row.element.remove();
    }));
    rows.push(row);
    holder.append(row.element);
  };
  for (let n = 0; n < Math.max(schema.minItems ?? 0, first); n++) add();
  return {
    element: h("fieldset", {}, h("legend", {}, label, isLeftOut(schema, required) ? optional() : null), holder,
      button("Add", add, { "aria-label": `Add to ${label}` })),
    value: () => (rows.length === 0 && !required ? undefined : rows.map(({ field }) => field.value())),
  };
}

function choice(label, values, required, schema) {
  const words = new Map([[true, "yes"], [false, "no"]]);
  const control = h("select", {}, required && !schema.nullable ? [] : h("option", { value: "" }, "(none)"),
    values.map((value, n) => h("option", { value: String(n) }, words.get(value) ?? String(value))));
  if (schema.default != null) control.value = String(values.indexOf(schema.default));
  const value = () => (control.value === "" ? nothing(schema, required) : values[Number(control.value)]);
  return { element: labelled(label, control, schema, required), value };
}

function checkbox(label, schema) {
  const control = h("input", { type: "checkbox", checked: schema.default === true });
  return { element: labelled(label, control, schema), value: () => control.checked };
}

function number(label, schema, required) {
  const control = h("input", {
    type: "number",
    step: schema.type === "integer" ? "1" : "any",
    min: schema.minimum?.toString(),
    max: schema.maximum?.toString(),
    value: schema.default?.toString(),
  });
  const value = () => {
    if (control.value === "" && control.validity.badInput === false) return missing(label, control, schema, required);
    if (!control.checkValidity()) throw invalid(control, `${label}: ${control.validationMessage}`);
    return Number(control.value);
  };
  return { element: labelled(label, control, schema, required), value };
}

function text(label, schema, required) {
  const control = schema.format === "date" ? h("input", { type: "date" }) : h("textarea", { rows: "1", maxlength: schema.maxLength?.toString() });
  control.value = schema.default ?? "";
  const mayBeEmpty = required && !schema.nullable && !schema.minLength && !schema.format;
  const value = () => (control.value === "" && mayBeEmpty ? "" : control.value || missing(label, control, schema, required));
  return { element: labelled(label, control, schema, required), value };
}

function json(label, schema, required) {
  const control = h("textarea", { rows: "3", class: "code", spellcheck: "false" });
  const value = () => {
    if (control.value.trim() === "") return missing(label, control, schema, required);
    try {
      return JSON.parse(control.value);
    } catch (error) {
      throw invalid(control, `${label}: ${error.message}`);
    }
  };
  return { element: labelled(`${label} (JSON)`, control, schema, required), value };
}

const hasDefault = ({ default: value }) => value != null && !(Array.isArray(value) && value.length === 0);
const isLeftOut = (schema, required) => !hasDefault(schema) && (!required || schema.nullable === true);
const optional = () => h("span", { class: "note" }, " (optional)");

function missing(label, control, schema, required) {
  if (required && !schema.nullable) throw invalid(control, `${label} is missing.`);
  return nothing(schema, required);
}

// What stands for a value that was left out: a field that must be there is null.
const nothing = (schema, required) => (required && schema.nullable ? null : undefined);

function invalid(control, message) {
  control.setAttribute("aria-invalid", "true");
  control.focus();
  control.addEventListener("input", () => control.removeAttribute("aria-invalid"), { once: true });
  return new Error(message);
}
