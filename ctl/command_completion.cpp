#include "common/escape.h"
#include "ctl/commands.h"
#include "ctl/completion.h"

namespace mtd::ctl {

Outcome<CtlExit> run_completion(Context& context) {
  const std::string& shell = context.invocation.words.front();
  const std::vector<Verb> verbs = all_verbs();
  if (shell == "bash") {
    context.out.write(bash_completion(verbs));
  } else if (shell == "zsh") {
    context.out.write(zsh_completion(verbs));
  } else if (shell == "fish") {
    context.out.write(fish_completion(verbs));
  } else {
    return Failure{CtlExit::usage, "there is no completion for '" + escape_for_terminal(shell) +
                                       "'; there is for bash, zsh and fish"};
  }
  return CtlExit::ok;
}

}  // namespace mtd::ctl
