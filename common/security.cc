#include "common/security.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <vector>

#include "common/zap.h"

namespace marquee {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOwnerOnly = 0600;
constexpr mode_t kEverybodyReads = 0644;
constexpr mode_t kGroupAndOthers = 077;
constexpr mode_t kGroupReads = 040;
constexpr char kCluster[] = "cluster";
constexpr std::array<PeerRole, 4> kRoles = {PeerRole::kScheduler, PeerRole::kServer, PeerRole::kWorker, PeerRole::kTool};

fs::path PublicFile(const fs::path& folder, const std::string& name) { return folder / (name + ".public"); }
fs::path SecretFile(const fs::path& folder, const std::string& name) { return folder / (name + ".secret"); }

bool Listens(PeerRole role) { return role == PeerRole::kScheduler || role == PeerRole::kServer; }

// "worker" and "worker-7" are workers.
absl::StatusOr<PeerRole> RoleOf(const fs::path& public_file) {
  const std::string name = public_file.stem().string();
  const std::optional<PeerRole> role = PeerRoleNamed(name.substr(0, name.find('-')));
  if (role.has_value()) return *role;
  return absl::InvalidArgumentError(
      fmt::format("{}: begins with no role; must be scheduler, server, worker or tool, alone or followed by '-' and a name",
                  public_file.string()));
}

absl::Status FileError(const fs::path& file) { return absl::ErrnoToStatus(errno, file.string()); }

// Never with more rights than `mode`, not even for a moment, and never over a file that is there.
absl::Status WriteNewFile(const fs::path& file, const std::string& text, mode_t mode) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return FileError(file);
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const absl::Status status = written ? absl::OkStatus() : FileError(file);
  close(fd);
  return status;
}

absl::Status GeneratePair(const fs::path& folder, const std::string& name) {
  std::array<char, 41> public_key{};
  std::array<char, 41> secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
    return absl::UnimplementedError("this build of ZeroMQ has no CURVE");
  }
  absl::Status status = WriteNewFile(SecretFile(folder, name), fmt::format("{}\n", secret_key.data()), kOwnerOnly);
  if (!status.ok()) return status;
  return WriteNewFile(PublicFile(folder, name), fmt::format("{}\n", public_key.data()), kEverybodyReads);
}

absl::StatusOr<std::string> ReadKey(const fs::path& file) {
  std::ifstream stream(file);
  std::string key;
  if (!(stream >> key))
    return absl::NotFoundError(fmt::format("{}: cannot read a key; `marquee keygen` makes them", file.string()));
  if (absl::Status status = CheckKey(file.string(), key); !status.ok()) return status;
  return key;
}

absl::StatusOr<std::string> ReadSecret(const fs::path& file) {
  struct stat info {};
  if (stat(file.c_str(), &info) != 0) return FileError(file);
  // A file of root's that this user may read through a group only: what systemd and Kubernetes hand to a program.
  const mode_t allowed = info.st_uid == 0 && geteuid() != 0 ? kGroupReads : 0;
  if ((info.st_mode & kGroupAndOthers & ~allowed) != 0) {
    return absl::PermissionDeniedError(
        fmt::format("{}: mode {:04o}: others than its owner have rights on this secret key; chmod 600", file.string(),
                    info.st_mode & 07777U));
  }
  return ReadKey(file);
}

absl::StatusOr<std::vector<AllowedKey>> ReadAllowedKeys(const fs::path& folder) {
  std::vector<AllowedKey> keys;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".public" || entry.path().stem() == kCluster) continue;
    const absl::StatusOr<PeerRole> role = RoleOf(entry.path());
    if (!role.ok()) return role.status();
    absl::StatusOr<std::string> key = ReadKey(entry.path());
    if (!key.ok()) return key.status();
    keys.push_back({*std::move(key), *role});
  }
  if (error) return absl::NotFoundError(fmt::format("{}: {}", folder.string(), error.message()));
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.public_key < b.public_key; });
  return keys;
}

}  // namespace

absl::Status GenerateKeys(const std::string& folder) {
  std::vector<std::string> names = {kCluster};
  for (const PeerRole role : kRoles) names.emplace_back(PeerRoleName(role));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return absl::UnavailableError(fmt::format("{}: {}", folder, error.message()));
  for (const std::string& name : names) {
    for (const fs::path& file : {PublicFile(folder, name), SecretFile(folder, name)}) {
      if (fs::exists(file))
        return absl::AlreadyExistsError(fmt::format("{}: is there already; remove it first", file.string()));
    }
  }
  for (const std::string& name : names) {
    if (absl::Status status = GeneratePair(folder, name); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<TransportSecurity> LoadSecurity(const std::string& folder, PeerRole role) {
  const std::string name(PeerRoleName(role));
  absl::StatusOr<std::string> server_key = ReadKey(PublicFile(folder, kCluster));
  if (!server_key.ok()) return server_key.status();
  absl::StatusOr<std::string> own_public = ReadKey(PublicFile(folder, name));
  if (!own_public.ok()) return own_public.status();
  absl::StatusOr<std::string> own_secret = ReadSecret(SecretFile(folder, name));
  if (!own_secret.ok()) return own_secret.status();
  TransportSecurity security{.curve = true,
                             .own_public_key = *std::move(own_public),
                             .own_secret_key = *std::move(own_secret),
                             .server_public_key = *std::move(server_key),
                             .listener_secret_key = {},
                             .allowed_keys = {}};
  if (!Listens(role)) return security;
  absl::StatusOr<std::string> listener = ReadSecret(SecretFile(folder, kCluster));
  if (!listener.ok()) return listener.status();
  security.listener_secret_key = *std::move(listener);
  absl::StatusOr<std::vector<AllowedKey>> allowed = ReadAllowedKeys(folder);
  if (!allowed.ok()) return allowed.status();
  security.allowed_keys = *std::move(allowed);
  return security;
}

}  // namespace marquee
