#ifndef MARQUEE_SCHEDULER_CLUSTER_FILE_H_
#define MARQUEE_SCHEDULER_CLUSTER_FILE_H_

// The cluster file of a sweep that runs, and its edits: servers and workers may be added and removed meanwhile, nothing else.
//
// Edits are noticed by content, so that it is the same whether the file is replaced or written in place. A text that is seen
// for the first time is left alone until it has stayed as it is for a while, since an editor may be in the middle of writing
// it; who asks for it has it judged at once. A text that is refused is refused once. Reads the file; knows no clock. Not
// thread-safe.

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster_config.h"

namespace marquee {

class ClusterFile {
 public:
  static absl::StatusOr<ClusterFile> Load(const std::string& path);

  struct Version {
    std::string text;
    ClusterConfig config;
  };

  const std::string& path() const { return path_; }      // absolute
  const std::string& folder() const { return folder_; }  // that it is in
  const Version& now() const { return now_; }            // what is in use
  const ClusterConfig& config() const { return now_.config; }

  // Looks at the file once a second, or at once if `asked`. What it says if that is new and may be followed; an error that
  // names file, line, key and value if it may not.
  absl::StatusOr<std::optional<Version>> Poll(absl::Time now, bool asked);

  // That version is in use from now on. Servers that it does not have any more are leaving.
  void Use(Version version);

  // A server that was leaving has gone, or may go: its name and ports are free.
  void Gone(const std::string& server);
  const std::vector<ServerPlace>& leaving() const { return leaving_; }

 private:
  ClusterFile(std::string path, std::string folder, Version now)
      : path_(std::move(path)), folder_(std::move(folder)), now_(std::move(now)), seen_(now_.text) {}

  absl::StatusOr<std::optional<Version>> Judge() const;
  absl::Status CheckServers(const ClusterConfig& edited) const;
  absl::Status CheckWorkers(const ClusterConfig& edited) const;

  std::string path_;
  std::string folder_;
  Version now_;
  std::vector<ServerPlace> leaving_;
  std::optional<std::string> seen_;  // the text when it was last looked at; none: it could not be read
  absl::Time seen_since_ = absl::InfinitePast();
  bool judged_ = true;  // what was seen
  absl::Time next_look_ = absl::InfinitePast();
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_CLUSTER_FILE_H_
