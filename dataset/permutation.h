#ifndef MARQUEE_DATASET_PERMUTATION_H_
#define MARQUEE_DATASET_PERMUTATION_H_

// A pseudo-random order of 0 .. size-1 that any position can be asked of in constant time and no memory: a balanced Feistel
// network with cycle walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). All workers of a trial agree
// on an epoch's order by agreeing on a key. A value type.

#include <cstdint>

namespace marquee {

class Permutation {
 public:
  Permutation(uint64_t size, uint64_t key);

  // The element at `position`, which must be below size().
  uint64_t At(uint64_t position) const;
  uint64_t size() const { return size_; }

 private:
  uint64_t Encrypt(uint64_t value) const;

  uint64_t size_;
  uint64_t key_;
  uint32_t half_bits_;
};

}  // namespace marquee

#endif  // MARQUEE_DATASET_PERMUTATION_H_
