// The check behind the QR on a card's back. The signed statement is in the URL fragment, which a browser never sends:
// it is decoded and its signature verified here (WebCrypto); the server is asked for the card's status only.
// Format: docs/formats.md F2 (COSE_Sign1) and F5 (QR).
"use strict";

class Malformed extends Error {}
class Unreachable extends Error {}

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store" });
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (!answer.ok) throw new Unreachable(`${path}: ${answer.status}`);
  return answer.json();
}

// The decimal digits are the integer 01 || COSE: the leading 01 keeps leading zeros of the statement.
function statementBytes(digits) {
  if (!/^[1-9][0-9]{99,1199}$/.test(digits)) throw new Malformed("digits");
  let hex = BigInt(digits).toString(16);
  if (hex.length % 2) hex = "0" + hex;
  const bytes = new Uint8Array(hex.length / 2);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = parseInt(hex.substr(2 * at, 2), 16);
  if (bytes[0] !== 1) throw new Malformed("marker");
  return bytes.subarray(1);
}

// Deterministic CBOR (RFC 8949 section 4.2.1), the few types our statements use; anything else is refused.
class Decoder {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.depth = 0;
  }

  take(count) {
    if (count > this.bytes.length - this.at) throw new Malformed("short");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  head() {
    const first = this.take(1)[0];
    const major = first >> 5;
    const extra = first & 31;
    if (extra < 24) return [major, extra];
    if (extra > 27) throw new Malformed("length form");
    const size = 1 << (extra - 24);
    let value = 0;
    for (const byte of this.take(size)) value = value * 256 + byte;
    const least = size === 1 ? 24 : 256 ** (size / 2);
    if (value < least || !Number.isSafeInteger(value)) throw new Malformed("not minimal");
    return [major, value];
  }

  value() {
    if (this.depth > 8) throw new Malformed("too deep");
    const [major, count] = this.head();
    if (major === 0) return count;
    if (major === 1) return -1 - count;
    if (major === 2) return this.take(count);
    if (major === 3) return new TextDecoder("utf-8", { fatal: true }).decode(this.take(count));
    if (major !== 4 && major !== 5 && major !== 6) throw new Malformed("type");
    this.depth += 1;
    let made;
    if (major === 4) {
      made = [];
      for (let item = 0; item < count; item += 1) made.push(this.value());
    } else if (major === 5) {
      made = new Map();
      let before = "";
      for (let pair = 0; pair < count; pair += 1) {
        const from = this.at;
        const key = this.value();
        const encoded = hexOf(this.bytes.subarray(from, this.at));
        if (encoded <= before) throw new Malformed("keys repeated or out of order");
        before = encoded;
        made.set(key, this.value());
      }
    } else {
      made = { tag: count, content: this.value() };
    }
    this.depth -= 1;
    return made;
  }

  whole() {
    const made = this.value();
    if (this.at !== this.bytes.length) throw new Malformed("trailing bytes");
    return made;
  }
}

const decode = (bytes) => new Decoder(bytes).whole();
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function parseStatement(bytes) {
  const outer = decode(bytes);
  if (outer.tag !== 18 || !Array.isArray(outer.content) || outer.content.length !== 4) throw new Malformed("envelope");
  const [protectedBytes, unprotected, payload, signature] = outer.content;
  if (!(unprotected instanceof Map) || unprotected.size || !(payload instanceof Uint8Array)) throw new Malformed("envelope");
  if (!(signature instanceof Uint8Array) || signature.length !== 64) throw new Malformed("signature");
  const header = decode(protectedBytes);
  const kid = header.get(4);
  if (header.size !== 2 || header.get(1) !== -7 || !(kid instanceof Uint8Array) || kid.length !== 8) throw new Malformed("header");
  const claims = decode(payload);
  const fields = claims.get(-65545);
  if (claims.size !== 3 || typeof claims.get(1) !== "string" || !Number.isInteger(claims.get(4))) throw new Malformed("claims");
  const isText = [false, true, false, false, false, true, true, true, false, false];
  if (!Array.isArray(fields) || fields.length !== isText.length) throw new Malformed("fields");
  if (fields.some((field, at) => typeof field !== (isText[at] ? "string" : "number"))) throw new Malformed("fields");
  return { protectedBytes, payload, signature, kid: hexOf(kid), issuer: claims.get(1), expires: claims.get(4), fields };
}

// COSE Sig_structure (RFC 9052 section 4.4): ["Signature1", protected, external_aad, payload].
function toBeSigned(statement) {
  const bstr = (bytes) => {
    const length = bytes.length;
    const head = length < 24 ? [0x40 | length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 255];
    return [...head, ...bytes];
  };
  const context = new TextEncoder().encode("Signature1");
  return new Uint8Array([0x84, 0x60 | context.length, ...context, ...bstr(statement.protectedBytes), 0x40, ...bstr(statement.payload)]);
}

// A prefix covers whole levels: H4 is no prefix of H49.
const covers = (prefix, code) => prefix === "*" || code === prefix || code.startsWith(prefix + ".");

async function verdictOf(digits, now) {
  const statement = parseStatement(statementBytes(digits));
  const { keys } = await ask("/v/keys");
  const key = keys.find((one) => one.kid === statement.kid);
  if (!key) return { kind: "unknown-signer" };
  const agency = statement.fields[5];
  if (!covers(statement.issuer, agency)) return { kind: "unknown-signer" };
  if (!key.scope.some((prefix) => covers(prefix, statement.issuer) && covers(prefix, agency))) return { kind: "unknown-signer" };
  if (key.state === "compromised" || now >= key.verifies_until) return { kind: "unknown-signer" };
  const jwk = { kty: "EC", crv: "P-256", x: key.x, y: key.y };
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const publicKey = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
  const isGood = await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, publicKey, statement.signature, toBeSigned(statement));
  if (!isGood) return { kind: "changed" };
  statement.issuerName = key.names[statement.issuer];
  if (now >= statement.expires) return { kind: "good", statement, state: "expired" };
  const [list, index] = statement.fields.slice(8);
  try {
    return { kind: "good", statement, state: (await ask(`/v/status?list=${list}&idx=${index}`)).state };
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    return { kind: "good", statement, state: "not-known" };
  }
}

const dateText = (number) => {
  const text = String(number).padStart(8, "0");
  return `${text.slice(6)}/${text.slice(4, 6)}/${text.slice(0, 4)}`;
};

function show(verdict) {
  document.getElementById("checking").hidden = true;
  const good = verdict.kind === "good";
  const name = good ? `state-${verdict.state}` : verdict.kind;
  const section = document.getElementById(name) || document.getElementById("state-unknown");
  section.hidden = false;
  document.documentElement.dataset.verdict = good ? verdict.state : verdict.kind;
  if (!good) return;
  const [, fullName, birth, sex, number, agency, title, category] = verdict.statement.fields;
  const { issuer, issuerName } = verdict.statement;
  const sexTexts = document.getElementById("holder").dataset;
  const categories = document.querySelectorAll("#categories [data-code]");
  const known = Array.from(categories).find((one) => one.dataset.code === category);
  const texts = {
    name: fullName,
    birth: dateText(birth),
    sex: sex === 1 ? sexTexts.male : sexTexts.female,
    number: String(number).padStart(12, "0"),
    agency: issuerName && agency === issuer ? `${issuerName} (${agency})` : agency,
    title,
    category: known ? known.textContent : category,
    issuer: issuerName ? `${issuerName} (${issuer})` : issuer,
    expires: new Date(verdict.statement.expires * 1000).toLocaleDateString("en-GB", { timeZone: "Asia/Ho_Chi_Minh" }),
  };
  for (const [field, text] of Object.entries(texts)) document.getElementById(`holder-${field}`).textContent = text;
  // Who signed is told apart only where it is not the holder's own agency.
  document.getElementById("holder-issuer").parentElement.hidden = agency === issuer;
  document.getElementById("holder").hidden = false;
}

async function check() {
  for (const section of document.querySelectorAll("[data-verdict-section]")) section.hidden = true;
  document.getElementById("holder").hidden = true;
  delete document.documentElement.dataset.verdict;
  const digits = location.hash.slice(1);
  if (!digits) return show({ kind: "nothing" });
  document.getElementById("checking").hidden = false;
  if (!window.isSecureContext || !crypto.subtle) return show({ kind: "no-crypto" });
  try {
    show(await verdictOf(digits, Date.now() / 1000));
  } catch (error) {
    // Whatever breaks while decoding (malformed CBOR, bad UTF-8, a key off the curve) is a changed code.
    show({ kind: error instanceof Unreachable ? "no-network" : "changed" });
  }
}

// The statement goes along to the other language: it is in the fragment, which only this page sees.
document.getElementById("language").addEventListener("click", (event) => {
  event.currentTarget.hash = location.hash;
});
window.addEventListener("hashchange", check);
check();
