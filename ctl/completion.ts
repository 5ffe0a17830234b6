import type { Command } from 'commander';

/** Rules for bash that complete commands, options and the mounts that there are. */
export function completionScript(program: Command): string {
  const name = program.name();
  const cases = program.commands.map((command) => {
    const takesMount = command.registeredArguments.length > 0;
    return `\t${command.name()}) words='${optionsOf(command)}'${takesMount ? ' mounts=yes' : ''} ;;\n`;
  });
  const commands = program.commands.map((command) => command.name()).join(' ');
  return `# bash completion for ${name}
_${name}() {
	local word=\${COMP_WORDS[COMP_CWORD]} words= mounts=
	local IFS=$' \\n'
	case \${COMP_WORDS[1]} in
${cases.join('')}	esac
	if ((COMP_CWORD == 1)); then
		words='${commands} ${optionsOf(program)}' mounts=
	elif [ -n "$mounts" ] && [[ $word != -* ]]; then
		words=$(findmnt --noheadings --list --output TARGET,SOURCE --types fuse.ext2,fuse.ext3,fuse.ext4)
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _${name} ${name}
`;
}

function optionsOf(command: Command): string {
  const help = command.createHelp();
  return help
    .visibleOptions(command)
    .map((option) => option.long ?? option.short ?? '')
    .join(' ');
}
