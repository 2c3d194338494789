#ifndef MARQUEE_SERVING_EXPORTER_H_
#define MARQUEE_SERVING_EXPORTER_H_

// A kept model as files that need no marquee: arrays for numpy.load, functions for torch.jit.load, and a manifest that says
// what they are and how they make a score. docs/serving.md describes each.
//
//     manifest.json                              written last: without it, there is no export
//     users.npy, movies.npy                      the key of each row of the matrices below
//     tables/NAME.npy, tables/NAME.ids.npy       kept rows of each table, and their ids
//     ids/COLUMN.npy, ids/COLUMN.values.npy      ids of the values of each column
//     retrieval/users.npy, movies.npy            vectors whose product ranks movies; seen_bias.npy where the model has one
//     retrieval/query.pt, candidate.pt           what makes the vectors; of query_INPUT.npy and candidate_INPUT.npy
//     rating/users.npy, movies.npy               factors whose product is part of the prediction
//     rating/PART.pt                             other parts; of PART.users.npy, PART.movies.npy and PART.context.npy

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "serving/kept_model.h"
#include "worker/models/inference.h"

namespace marquee {

struct ExportOptions {
  // kNow: users' vectors are made of all that they have rated. kTest: of what was known when the test part was read, so that
  // its figures can be repeated.
  Entities::For purpose = Entities::For::kNow;
};

// Writes into `folder`, which is made where it is not there. An earlier export in it is replaced; a folder with anything else
// is refused.
absl::Status Export(KeptModel& model, const std::string& folder, const ExportOptions& options);

}  // namespace marquee

#endif  // MARQUEE_SERVING_EXPORTER_H_
