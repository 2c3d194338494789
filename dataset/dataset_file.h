#ifndef MARQUEE_DATASET_DATASET_FILE_H_
#define MARQUEE_DATASET_DATASET_FILE_H_

// The first bytes of a data file, before the Cap'n Proto message of schemas/dataset.capnp.

#include <cstdint>

namespace marquee {

inline constexpr uint64_t kDataFileMagic = 0x415441442d51524dU;  // "MRQ-DATA" in little-endian bytes
inline constexpr uint64_t kDataFileVersion = 1;

struct DataFileHeader {
  uint64_t magic = kDataFileMagic;
  uint64_t version = kDataFileVersion;
  uint64_t content_bytes = 0;  // of what follows: whole words
  uint64_t checksum = 0;       // XXH3 of what follows
};
static_assert(sizeof(DataFileHeader) == 32, "the message behind the header must stay aligned to words");

}  // namespace marquee

#endif  // MARQUEE_DATASET_DATASET_FILE_H_
