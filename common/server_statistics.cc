#include "common/server_statistics.h"

namespace marquee {

ServerStatistics ServerStatistics::FromWire(wire::ServerStatistics::Reader reader) {
  return {.rows = reader.getRows(),
          .bytes = reader.getBytes(),
          .pulls = reader.getPulls(),
          .pushes = reader.getPushes(),
          .rows_pulled = reader.getRowsPulled(),
          .rows_pushed = reader.getRowsPushed(),
          .duplicates = reader.getDuplicates(),
          .rejected = reader.getRejected()};
}

void ServerStatistics::ToWire(wire::ServerStatistics::Builder builder) const {
  builder.setRows(rows);
  builder.setBytes(bytes);
  builder.setPulls(pulls);
  builder.setPushes(pushes);
  builder.setRowsPulled(rows_pulled);
  builder.setRowsPushed(rows_pushed);
  builder.setDuplicates(duplicates);
  builder.setRejected(rejected);
}

ServerStatistics& ServerStatistics::operator+=(const ServerStatistics& other) {
  rows += other.rows;
  bytes += other.bytes;
  pulls += other.pulls;
  pushes += other.pushes;
  rows_pulled += other.rows_pulled;
  rows_pushed += other.rows_pushed;
  duplicates += other.duplicates;
  rejected += other.rejected;
  return *this;
}

}  // namespace marquee
