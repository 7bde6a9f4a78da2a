// Real processes for the stories: scripts/cluster.sh with ports that are free, or a single gateway with settings of its own.
// Whatever was started here is ended here, by its pid.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { binary, freePorts, root, run, start, until as within } from '../../clients/js/test/support/processes.js';

export { binary, root, run };

// Nobody waits for a load balancer, or for streams to leave one after the other.
const brief = { TIDEGATE_DRAIN__DELAY: '0s', TIDEGATE_DRAIN__WINDOW: '0s' };

/** nginx, gateways and Redis. */
export async function cluster({ nodes = 3, settings = {} } = {}) {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-browser.'));
  const { script, values } = await oneOf(3, () => startCluster(nodes, settings, path.join(dir, 'ready')));
  return {
    url: values.URL,
    /** As a power cut would. */
    kill: (node) => process.kill(Number(values[`PID_${node.replace('gateway-', '')}`]), 'SIGKILL'),
    stop: async () => {
      await script.stop('SIGTERM');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function startCluster(nodes, settings, readyFile) {
  const [http, redis, gateways, admins] = [await freePorts(1), await freePorts(1), await freePorts(nodes), await freePorts(nodes)];
  const ports = { CLUSTER_HTTP_PORT: http, CLUSTER_REDIS_PORT: redis, CLUSTER_GATEWAY_PORT: gateways, CLUSTER_ADMIN_PORT: admins };
  const script = start(path.join(root, 'scripts/cluster.sh'), [], { ...ports, CLUSTER_NODES: nodes, CLUSTER_READY_FILE: readyFile, CLUSTER_BINARY: binary, ...brief, ...settings });
  const said = await until(() => script.running() && readFile(readyFile, 'utf8').catch(() => null), 60_000);
  const values = Object.fromEntries(said.trim().split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)));
  return { script, values };
}

/** One gateway with everything in its own process. */
export const gateway = (settings = {}) =>
  oneOf(3, async () => {
    const [port, admin] = [await freePorts(1), await freePorts(1)];
    const url = `http://127.0.0.1:${port}`;
    const serve = async () => {
      const server = start(binary, ['serve', '--listen', `127.0.0.1:${port}`, '--admin-listen', `127.0.0.1:${admin}`], { ...brief, ...settings });
      await until(() => server.running() && fetch(`${url}/readyz`).then((answer) => answer.ok, () => false));
      return server;
    };
    let server = await serve();
    return {
      url,
      /** Streams that are open. */
      streams: async () => {
        const metrics = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
        return [...metrics.matchAll(/^tidegate_connections\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
      },
      /** As a power cut would, with all that it knew. */
      kill: () => server.stop('SIGKILL'),
      revive: async () => (server = await serve()),
      stop: () => server.stop('SIGTERM'),
    };
  });

/** nginx with a gateway under a path of its site, as people write it; the rest of the site is not the gateway's. */
export const site = (at, url) =>
  oneOf(3, async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-site.'));
    const port = await freePorts(1);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`).join(' ');
    const location = `location ${at} { proxy_pass ${url}/; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_buffering off; }`;
    const config = `daemon off; pid ${dir}/pid; events {} http { access_log off; ${temporary} server { listen 127.0.0.1:${port}; location / { return 404; } ${location} } }`;
    await writeFile(path.join(dir, 'nginx.conf'), config);
    const nginx = start('nginx', ['-p', dir, '-e', 'stderr', '-c', path.join(dir, 'nginx.conf')], {});
    const base = `http://127.0.0.1:${port}`;
    await until(() => nginx.running() && fetch(`${base}${at}readyz`).then((answer) => answer.ok, () => false));
    return {
      url: base,
      stop: async () => {
        await nginx.stop('SIGTERM');
        await rm(dir, { recursive: true, force: true });
      },
    };
  });

/** A port that was free a moment ago may be somebody else's now. */
async function oneOf(attempts, attempt) {
  try {
    return await attempt();
  } catch (error) {
    if (attempts === 1) throw error;
    return oneOf(attempts - 1, attempt);
  }
}

/** Asks until the answer is true. */
export const until = (condition, patience = 30_000) => within(condition, patience);
