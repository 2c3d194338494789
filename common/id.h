#ifndef MARQUEE_COMMON_ID_H_
#define MARQUEE_COMMON_ID_H_

// Row ids and the partitions that they hash to.
//
// An id is the stable 64-bit hash of "feature=value": the same on every machine and in every version, since it is written into
// checkpoints. Every 64-bit value is a legal id. All functions here are pure and may be called from any thread.

#include <cstdint>
#include <string_view>

namespace marquee {

using Id = uint64_t;
using TableNumber = uint32_t;
using PartitionNumber = uint32_t;

// The id of one value of one feature, for example FeatureId("movie_id", "1251"). XXH3 of "feature=value".
Id FeatureId(std::string_view feature, std::string_view value);

// Spreads an id over all 64 bits (the finalizer of SplitMix64, a bijection), so that ids which are small integers, as the block
// numbers of dense tensors are, fall evenly. Its high bits choose the partition; the row store's index uses its low 32 bits.
inline uint64_t MixId(Id id) {
  uint64_t x = id + 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

// The partition of a mixed id. `partition_bits` is the base-2 logarithm of the number of partitions, 0 to 16.
inline PartitionNumber PartitionOfMixed(uint64_t mixed, uint32_t partition_bits) {
  return partition_bits == 0 ? 0 : static_cast<PartitionNumber>(mixed >> (64U - partition_bits));
}

inline PartitionNumber PartitionOf(Id id, uint32_t partition_bits) { return PartitionOfMixed(MixId(id), partition_bits); }

}  // namespace marquee

#endif  // MARQUEE_COMMON_ID_H_
