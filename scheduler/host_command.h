#ifndef MARQUEE_SCHEDULER_HOST_COMMAND_H_
#define MARQUEE_SCHEDULER_HOST_COMMAND_H_

// The command that starts a process on another machine, whatever brings it there. It first looks whether the files that the
// process reads are there, and ends with exit codes that tell what went wrong: nobody wants to log in to find out.

#include <map>
#include <string>
#include <vector>

#include "scheduler/launch_engine.h"
#include "scheduler/process_plan.h"

namespace marquee {

struct HostCommand {
  std::string programs;                            // folder of the program; empty: the one of this machine
  std::vector<std::string> prefix;                 // words of a command that runs the program
  std::map<std::string, std::string> environment;  // besides the numbers of threads
  std::vector<std::string> more_arguments;         // behind the plan's

  std::string ProgramOf(const ProcessPlan& plan) const;
  // A program and its arguments. The process ends when its input does.
  std::vector<std::string> WordsFor(const ProcessPlan& plan) const;
  // What the end of these words means at a host of this name.
  LaunchEnd Judge(const ProcessPlan& plan, int exit_code, const std::string& host) const;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_HOST_COMMAND_H_
