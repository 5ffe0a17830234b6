/** Imports point one way: shared <- native <- helper, service, ctl; inside service see docs/architecture.md. */
const room = (name, from, allowed) => ({
  name,
  severity: 'error',
  from: { path: from },
  to: { path: '^(shared|native|helper|service|ctl)/', pathNot: [from, ...allowed] },
});

const PROGRAMS = '^(service/fuse4fs|helper/fuservicemount|helper/broker/broker|ctl/fuse4fsctl)[.]ts$';

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-module-that-no-program-uses',
      severity: 'error',
      from: { path: PROGRAMS },
      to: { path: '^(shared|native|helper|service|ctl)/.*[.]ts$', pathNot: PROGRAMS, reachable: false },
    },
    {
      name: 'no-dev-dependency-at-run-time',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
    room('shared-imports-nothing-of-ours', '^shared/', []),
    room('native-imports-shared', '^native/', ['^shared/']),
    room('helper-imports-shared-and-native', '^helper/', ['^shared/', '^native/']),
    room('ctl-imports-shared-and-native', '^ctl/', ['^shared/', '^native/']),
    room('layout-imports-shared', '^service/ext4/layout/', ['^shared/']),
    room('ext4-imports-layout-and-shared', '^service/ext4/(?!layout/)', ['^service/ext4/', '^shared/']),
    room('fuse-imports-shared', '^service/fuse/', ['^shared/']),
    room('iomap-imports-ext4', '^service/iomap/', ['^service/ext4/', '^shared/']),
    room('ops-imports-iomap-ext4-fuse', '^service/ops/', ['^service/(iomap|ext4|fuse)/', '^shared/']),
    {
      name: 'only-the-stand-alone-program-plays-the-helper',
      severity: 'error',
      from: { path: '^service/', pathNot: '^service/standalone' },
      to: { path: '^helper/' },
    },
    {
      name: 'ext4-is-pure',
      severity: 'error',
      from: { path: '^service/ext4/' },
      to: { dependencyTypes: ['core'] },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};
