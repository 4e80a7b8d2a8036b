import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const folder = new URL('../consent/', import.meta.url);
const languages = readdirSync(folder).filter((name) => /^messages\.\w+\.json$/.test(name));
const messages = Object.fromEntries(
  languages.map((name) => [name, JSON.parse(readFileSync(new URL(name, folder), 'utf8'))]),
);

test('every message is there in Japanese and in English', () => {
  assert.deepEqual(languages, ['messages.en.json', 'messages.ja.json']);
  const [en, ja] = Object.values(messages);
  assert.deepEqual(Object.keys(ja).sort(), Object.keys(en).sort());
});

test('a message says something, and has the same placeholders in every language', () => {
  const [en, ja] = Object.values(messages);
  const placeholders = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const key of Object.keys(en)) {
    assert.ok(en[key].trim() && ja[key].trim(), key);
    assert.match(ja[key], /[ぁ-んァ-ヶ一-龠]/, key);
    assert.deepEqual(placeholders(ja[key]), placeholders(en[key]), key);
  }
});
