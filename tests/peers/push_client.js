// Pushes with prom-client, the library of Node for Prometheus.
//
//     push_client.js HOST:PORT
const client = require("prom-client");

const url = `http://${process.argv[2]}`;

function registry(name, value, Kind = client.Counter) {
  const made = new client.Registry();
  const metric = new Kind({ name, help: "Some help.", registers: [made] });
  metric.inc(value);
  return made;
}

async function main() {
  const push = async (how, job, name, value, groupings) => {
    const kind = name.endsWith("_total") ? client.Counter : client.Gauge;
    const { resp } = await new client.Pushgateway(url, {}, registry(name, value, kind))[how]({ jobName: job, groupings });
    if (resp.statusCode >= 300) throw new Error(`${how} of ${name}: ${resp.statusCode}`);
  };
  await push("push", "node", "replaced_total", 1);
  await push("push", "node", "pushed_total", 1);
  await push("pushAdd", "node", "added_total", 2);
  await push("push", "node/x", "in_a_group", 3, { zone: "z" });
  await push("push", "deleted", "deleted_total", 1);
  await push("delete", "deleted", "deleted_total", 1);
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
