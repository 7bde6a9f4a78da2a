// A page with a script of the documents in it, and with the cookie that the page's backend would set.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const page = `<!doctype html><script type="module">${readFileSync(process.env.PAGE_SCRIPT, 'utf8')}</script>`;

createServer((request, answer) => {
  answer.setHeader('Set-Cookie', `tidegate_token=${process.env.TOKEN}; Path=/; HttpOnly; SameSite=Lax`);
  answer.setHeader('Content-Type', 'text/html; charset=utf-8').end(page);
}).listen(process.env.APP_PORT, '127.0.0.1');
