#ifndef MARQUEE_DATASET_EXPLORATION_PAGE_H_
#define MARQUEE_DATASET_EXPLORATION_PAGE_H_

// An exploration (dataset/exploration.h) as one self-contained page for people. What a data file cannot answer, for want of a
// column, the page says instead of leaving it out.

#include <string>

#include "dataset/dataset.h"
#include "dataset/exploration.h"

namespace marquee {

std::string ExplorationPage(const Dataset& data, const Exploration& exploration);

}  // namespace marquee

#endif  // MARQUEE_DATASET_EXPLORATION_PAGE_H_
