// The frame of every Node driver: reads cases from stdin, prints a line of JSON for each.

export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const NOTES = "Ada lives in Paris.";
export const TURNS = ["My name is Ada.", "How is the weather in Paris?", "Who am I?"];
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, degrees: { type: "integer" } },
  required: ["city", "degrees"],
  additionalProperties: false,
};
export const CLOCK = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const QUESTION = {
  type: "object",
  properties: { request: { type: "object" }, response_schema: { type: "object" } },
  required: ["request"],
  additionalProperties: true,
};

// The client has no such thing.
export class AbsentError extends Error {}

export const LINK = "https://login.example/consent";
export const NOT_SHOWN = "it drops the item, and returns an empty answer";

// The outcome of a client in whose result, or error, the link for consent is missing.
export function withoutLink(seen, why) {
  const shown = `${seen} ${JSON.stringify(seen)}`;
  if (shown.includes(LINK)) throw new Error(`the client has the link: ${shown}`.slice(0, 600));
  return new AbsentError(why);
}

export function absent(why) {
  return async () => {
    throw new AbsentError(why);
  };
}

// The error that a call raises, as its user reads it.
export async function failing(act) {
  let result;
  try {
    result = await act();
  } catch (error) {
    return [error?.message, error?.code, JSON.stringify(error?.data ?? error?.error ?? error?.responseBody ?? "")].join(" ");
  }
  throw new Error(`no error was raised; the call returned ${JSON.stringify(result)}`.slice(0, 600));
}

async function tried(act, given) {
  if (act === undefined) return { error: "the driver has no such feature" };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer after 30 s")), 30_000);
  });
  try {
    return { result: await Promise.race([act(given), late]) };
  } catch (error) {
    if (error instanceof AbsentError) return { absent: error.message };
    console.error(error);
    return { error: `${error?.name}: ${error?.message}`.slice(0, 600) };
  } finally {
    clearTimeout(timer);
  }
}

export async function main(features) {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  for (const given of JSON.parse(text)) {
    const { feature, url } = given;
    process.stdout.write(`${JSON.stringify({ feature, url, ...(await tried(features[feature], given)) })}\n`);
  }
}
