// The data file: what is written comes back, and what is damaged is refused.

#include "dataset/dataset_file.h"

#include <xxhash.h>

#include <cstring>

#include "common/id.h"
#include "dataset/dataset.h"
#include "dataset/random.h"
#include "dataset/table_csv.h"
#include "dataset/writer.h"
#include "tests/unit/dataset/small_tables.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const Dataset> WriteAndOpen(const DataTables& tables, const std::string& path) {
  const absl::Status written = WriteDataset(tables, path);
  EXPECT_TRUE(written.ok()) << written;
  absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(path);
  EXPECT_TRUE(data.ok()) << data.status();
  return data.ok() ? *data : nullptr;
}

TEST(DatasetFile, GivesBackWhatWasWritten) {
  const TempFolder folder;
  const auto data = WriteAndOpen(SmallTables(), folder / "a.mq");
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data->name(), "small tables");
  EXPECT_FALSE(data->synthetic());
  EXPECT_EQ(data->interactions(), 3);
  EXPECT_EQ(data->users(), 2);
  EXPECT_EQ(data->items(), 3);
  EXPECT_EQ(data->rated_items(), 2);
  EXPECT_THAT(data->user_of(), ElementsAre(0, 1, 0));
  EXPECT_THAT(data->item_of(), ElementsAre(1, 0, 0));  // i0, i2 are rated and come before i1
  EXPECT_THAT(data->label(), ElementsAre(4, 1.5F, 5));
  EXPECT_EQ(data->user_key().name(), "user_id");
  EXPECT_EQ(data->item_key().name(), "movie_id");
  EXPECT_EQ(data->column("no such column"), nullptr);

  const Column& movie = data->item_key();
  EXPECT_EQ(movie.value(movie.code(0)), "i0");
  EXPECT_EQ(movie.value(movie.code(1)), "i2");
  EXPECT_EQ(movie.value(movie.code(2)), "i1");
  EXPECT_EQ(movie.id(movie.code(1)), FeatureId("movie_id", "i2"));

  const Column& tags = *data->column("tags");
  EXPECT_EQ(tags.level(), Column::Level::kItem);
  EXPECT_EQ(tags.type(), Column::Type::kIds);
  EXPECT_THAT(tags.codes(0), ElementsAre(0, 1));
  EXPECT_TRUE(tags.codes(1).empty());
  EXPECT_THAT(tags.codes(2), ElementsAre(2));
  EXPECT_EQ(tags.value(2), "green");

  const Column& city = *data->column("city");
  EXPECT_EQ(city.value(city.code(0)), "Köln");
  EXPECT_EQ(city.code(1), kNullCode);

  const Column& time = *data->column("time");
  EXPECT_EQ(time.number(0), -86400);
  EXPECT_TRUE(time.is_null(1));
  EXPECT_EQ(time.number(1), 0);
  EXPECT_FALSE(time.is_null(2));
  EXPECT_EQ(time.number(2), 0.25);

  EXPECT_EQ(data->RowOf(Column::Level::kInteraction, 2), 2);
  EXPECT_EQ(data->RowOf(Column::Level::kUser, 1), 1);
  EXPECT_EQ(data->RowOf(Column::Level::kItem, 0), 1);
}

TEST(DatasetFile, ChecksumFollowsTheContentAlone) {
  const TempFolder folder;
  DataTables tables = SmallTables();
  const uint64_t first = WriteAndOpen(tables, folder / "a.mq")->checksum();
  EXPECT_EQ(WriteAndOpen(tables, folder / "b.mq")->checksum(), first);
  tables.label[1] = 2;
  EXPECT_NE(WriteAndOpen(tables, folder / "c.mq")->checksum(), first);
}

TEST(DatasetFile, RefusesWhatIsNoDataFile) {
  const TempFolder folder;
  EXPECT_THAT(MessageOf(Dataset::Open(folder / "none.mq")), HasSubstr("none.mq: cannot open"));
  EXPECT_THAT(MessageOf(Dataset::Open(folder.path())), HasSubstr("not a marquee data file"));
  EXPECT_THAT(MessageOf(Dataset::Open(folder.Write("empty.mq", ""))), HasSubstr("not a marquee data file"));
  EXPECT_THAT(MessageOf(Dataset::Open(folder.Write("text.mq", std::string(100, 'x')))), HasSubstr("not a marquee data file"));
}

TEST(DatasetFile, RefusesEveryDamage) {
  const TempFolder folder;
  WriteAndOpen(SmallTables(), folder / "a.mq");
  const std::string good = ReadBytes(folder / "a.mq");
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    EXPECT_FALSE(Dataset::Open(folder.Write("bad.mq", bad)).ok()) << "byte " << i;
  }
  for (const size_t size : {good.size() - 8, good.size() - 1, size_t{40}, size_t{31}}) {
    EXPECT_FALSE(Dataset::Open(folder.Write("bad.mq", good.substr(0, size))).ok()) << "first " << size << " bytes";
  }
  EXPECT_FALSE(Dataset::Open(folder.Write("bad.mq", good + std::string(8, '\0'))).ok());
}

// Touches every value, so that a sanitizer sees an index that leads outside.
double SumOf(const Dataset& data) {
  double sum = 0;
  for (size_t i = 0; i < data.interactions(); ++i)
    sum += static_cast<double>(data.user_of()[i] + data.item_of()[i]) + data.label()[i];
  for (const auto& column : data.columns()) {
    for (uint32_t code = 0; code < column->values(); ++code) sum += static_cast<double>(column->value(code).size());
    for (size_t row = 0; row < column->size(); ++row) {
      if (column->type() == Column::Type::kNumber) {
        sum += column->is_null(row) ? 0 : column->number(row);
      } else if (column->type() == Column::Type::kId) {
        sum += column->code(row) == kNullCode ? 0 : static_cast<double>(column->value(column->code(row)).size());
      } else {
        for (const uint32_t code : column->codes(row)) sum += static_cast<double>(column->value(code).size());
      }
    }
  }
  return sum;
}

// Content that its checksum vouches for and that is wrong all the same: written by a program with a bug, or by malice.
TEST(DatasetFile, SurvivesWrongContentUnderARightChecksum) {
  const TempFolder folder;
  WriteAndOpen(SmallTables(), folder / "a.mq");
  const std::string good = ReadBytes(folder / "a.mq");
  Random random(11);
  size_t refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bad = good;
    for (uint64_t changes = 1 + random.Below(3); changes > 0; --changes) {
      bad[sizeof(DataFileHeader) + random.Below(bad.size() - sizeof(DataFileHeader))] = static_cast<char>(random.Next());
    }
    DataFileHeader header;
    header.content_bytes = bad.size() - sizeof(header);
    header.checksum = XXH3_64bits(bad.data() + sizeof(header), header.content_bytes);
    std::memcpy(bad.data(), &header, sizeof(header));
    const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(folder.Write("bad.mq", bad));
    refused += data.ok() ? 0 : 1;
    if (data.ok()) SumOf(**data);
  }
  EXPECT_GT(refused, 250);
  EXPECT_LT(refused, 1500);  // a changed letter of a title is nobody's error
}

TEST(DatasetFile, NamesWhatIsWrong) {
  const TempFolder folder;
  WriteAndOpen(SmallTables(), folder / "a.mq");
  const std::string good = ReadBytes(folder / "a.mq");
  std::string other_version = good;
  other_version[offsetof(DataFileHeader, version)] = 9;
  EXPECT_THAT(MessageOf(Dataset::Open(folder.Write("v.mq", other_version))),
              HasSubstr("version 9; this program reads version 1"));
  EXPECT_THAT(MessageOf(Dataset::Open(folder.Write("t.mq", good.substr(0, good.size() - 8)))), HasSubstr("truncated"));
  std::string flipped = good;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  EXPECT_THAT(MessageOf(Dataset::Open(folder.Write("c.mq", flipped))), HasSubstr("c.mq: checksum"));
}

TEST(DatasetFile, AppearsWholeOrNotAtAll) {
  const TempFolder folder;
  const std::string path = folder.Write("a.mq", "what stood before");
  DataTables tables = SmallTables();
  tables.item_of[0] = 7;
  EXPECT_THAT(MessageOf(WriteDataset(tables, path)), HasSubstr("itemOf[0]: 7; must be below 2"));
  EXPECT_EQ(ReadBytes(path), "what stood before");
  EXPECT_EQ(folder.files(), 1);
  EXPECT_TRUE(WriteDataset(SmallTables(), path).ok());
  EXPECT_TRUE(Dataset::Open(path).ok());
  EXPECT_EQ(folder.files(), 1);
  EXPECT_THAT(MessageOf(WriteDataset(SmallTables(), folder / "no/such/folder.mq")), HasSubstr("folder.mq: cannot write"));
}

TEST(DatasetFile, RefusesTablesThatDoNotFit) {
  const TempFolder folder;
  const auto error_of = [&](auto change) {
    DataTables tables = SmallTables();
    change(tables);
    return MessageOf(WriteDataset(tables, folder / "a.mq"));
  };
  EXPECT_THAT(error_of([](DataTables& t) { t.label.pop_back(); }), HasSubstr("label: 2 values; must be 3"));
  EXPECT_THAT(error_of([](DataTables& t) { t.user_of[2] = 2; }), HasSubstr("userOf[2]: 2; must be below 2"));
  EXPECT_THAT(error_of([](DataTables& t) { t.item_of[1] = 2; }), HasSubstr("itemOf[1]: 2; must be below 2"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[2].offsets.back() = 9; }),
              HasSubstr("column tags: must rise from 0 to 3"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[2].codes[0] = 3; }), HasSubstr("column tags[0]: 3; must be below 3"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[3].codes[0] = 3; }),
              HasSubstr("column city[0]: 3; must be below 1 or null"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[4].numbers.pop_back(); }), HasSubstr("column time: 2 values; must be 3"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[4].name = "city"; }),
              HasSubstr("column city: there are two of that name"));
  EXPECT_THAT(error_of([](DataTables& t) { t.user_key = "time"; }), HasSubstr("userKey"));
  EXPECT_THAT(error_of([](DataTables& t) { t.item_key = "nothing"; }), HasSubstr("itemKey"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[0].codes[1] = 0; }),
              HasSubstr("userKey: row 1 of column user_id is null or not"));
  EXPECT_THAT(error_of([](DataTables& t) { t.columns[0].codes[1] = kNullCode; }), HasSubstr("userKey: row 1"));
}

TEST(TableCsv, JoinsEveryColumn) {
  const TempFolder folder;
  DataTables tables = SmallTables();
  tables.columns[0].dictionary = Dictionary();
  tables.columns[0].codes.clear();
  tables.columns[0].AddId("says \"hi\"");
  tables.columns[0].AddId("a,b");
  const auto data = WriteAndOpen(tables, folder / "a.mq");
  ASSERT_TRUE(WriteTableCsv(*data, {}, folder / "a.csv").ok());
  EXPECT_EQ(ReadBytes(folder / "a.csv"),
            "user_id,movie_id,tags,city,time\n"
            "\"says \"\"hi\"\"\",i2,,Köln,-86400\n"
            "\"a,b\",i0,red|blue,,\n"
            "\"says \"\"hi\"\"\",i0,red|blue,Köln,0.25\n");
  ASSERT_TRUE(WriteTableCsv(*data, {"tags"}, folder / "a.csv").ok());
  EXPECT_THAT(ReadBytes(folder / "a.csv"), HasSubstr("\"a,b\",i0,\"[0, 1]\",,\n"));
}

}  // namespace
}  // namespace marquee
