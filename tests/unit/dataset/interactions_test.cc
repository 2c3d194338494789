// Users' own CSV files and their schema.

#include "dataset/interactions.h"

#include <fmt/format.h>

#include "dataset/wrangle.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kSchema = R"(name: my-shop
columns:
  customer: {feature: user}
  product: {feature: item, name: product_id}
  stars: {feature: label}
  bought: {feature: time}
  tags: {feature: ids, level: item, separator: ";"}
  age: {feature: number, level: user}
  channel: {feature: id}
)";

constexpr std::string_view kHeader = "customer,product,stars,bought,tags,age,channel,note\n";

class InteractionsTest : public testing::Test {
 protected:
  absl::StatusOr<DataTables> Read(std::string_view rows) {
    return WrangleInteractions(folder_.Write("orders.csv", fmt::format("{}{}", kHeader, rows)),
                               folder_.Write("orders.yaml", schema_), report_);
  }
  std::string SchemaError(std::string_view schema) {
    return MessageOf(LoadInteractionsSchema(folder_.Write("s.yaml", schema)));
  }

  TempFolder folder_;
  Report report_;
  std::string schema_ = std::string(kSchema);
};

TEST_F(InteractionsTest, ReadsEveryKindOfColumn) {
  const absl::StatusOr<DataTables> tables = Read(
      "ann,p7,4.5,2026-01-31,red; blue;,33,\"web, mobile\",x\n"
      "bob,p7,1,1970-01-02T01:00:00Z,red; blue;,,shop,\n"
      "ann,p1,-2,,,33,,\n");
  ASSERT_TRUE(tables.ok()) << tables.status();
  ASSERT_TRUE(WriteDataset(*tables, folder_ / "a.mq").ok());
  const auto data = *Dataset::Open(folder_ / "a.mq");
  EXPECT_EQ(data->name(), "my-shop");
  EXPECT_FALSE(data->synthetic());
  EXPECT_EQ(data->users(), 2);
  EXPECT_EQ(data->items(), 2);
  EXPECT_EQ(data->rated_items(), 2);
  EXPECT_THAT(data->user_of(), ElementsAre(0, 1, 0));
  EXPECT_THAT(data->item_of(), ElementsAre(0, 0, 1));
  EXPECT_THAT(data->label(), ElementsAre(4.5F, 1, -2));
  EXPECT_EQ(data->user_key().name(), "customer");
  EXPECT_EQ(data->item_key().name(), "product_id");
  EXPECT_EQ(data->item_key().value(data->item_key().code(1)), "p1");
  const Column& tags = *data->column("tags");
  EXPECT_EQ(tags.level(), Column::Level::kItem);
  EXPECT_THAT(tags.codes(0), ElementsAre(0, 1));
  EXPECT_EQ(tags.value(1), "blue");
  EXPECT_TRUE(tags.codes(1).empty());
  const Column& age = *data->column("age");
  EXPECT_EQ(age.number(0), 33);
  EXPECT_TRUE(age.is_null(1));
  const Column& channel = *data->column("channel");
  EXPECT_EQ(channel.value(channel.code(0)), "web, mobile");
  EXPECT_EQ(channel.code(2), kNullCode);
  const Column& bought = *data->column("bought");
  EXPECT_EQ(bought.number(0), 1769817600);
  EXPECT_EQ(bought.number(1), 90000);
  EXPECT_TRUE(bought.is_null(2));
  EXPECT_EQ(data->column("stars")->number(0), 4.5);
  EXPECT_EQ(data->column("note"), nullptr);
  EXPECT_THAT(report_.text(), HasSubstr("1 columns are not in the schema: left out: note"));
  EXPECT_EQ(report_.count("column bought", "are empty: null"), 1);
}

TEST_F(InteractionsTest, TakesTheFirstValueOfAUserOrItemAndCountsTheOthers) {
  const absl::StatusOr<DataTables> tables = Read(
      "ann,p7,4,1,red,33,web,\n"
      "ann,p7,5,2,green,34,web,\n"
      "bob,p7,5,3,red,,web,\n"
      "ann,p1,5,4,,33,web,\n");
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_EQ(tables->column("age")->numbers[0], 33);
  EXPECT_EQ(tables->column("tags")->dictionary.size(), 1);
  EXPECT_THAT(report_.text(),
              HasSubstr("1 rows say otherwise than the first row of the same user or item, which counts: line 3"));
  EXPECT_EQ(report_.count("column age", "rows say otherwise than the first row of the same user or item, which counts"), 1);
  EXPECT_EQ(report_.count("table", "repeat a (user, item) pair: kept"), 1);
}

TEST_F(InteractionsTest, GivesLabelOneWhereThereIsNone) {
  schema_ = "columns:\n  customer: {feature: user}\n  product: {feature: item}\n";
  const absl::StatusOr<DataTables> tables = Read("ann,p7,4,,,,,\nbob,p1,2,,,,,\n");
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_EQ(tables->name, "orders");
  EXPECT_THAT(tables->label, ElementsAre(1, 1));
  EXPECT_THAT(report_.text(), HasSubstr("every interaction has the label 1"));
}

TEST_F(InteractionsTest, NamesFileLineAndColumn) {
  const std::string good = "ann,p7,4,1,red,33,web,\n";
  EXPECT_THAT(MessageOf(Read(good + ",p7,4,1,red,33,web,\n")),
              HasSubstr("orders.csv:3: column 'customer': value '': must be an id"));
  EXPECT_THAT(MessageOf(Read(good + "ann,,4,1,red,33,web,\n")),
              HasSubstr("orders.csv:3: column 'product': value '': must be an id"));
  EXPECT_THAT(MessageOf(Read(good + "ann,p1,good,1,red,33,web,\n")),
              HasSubstr("orders.csv:3: column 'stars': value 'good': must be a number"));
  EXPECT_THAT(MessageOf(Read(good + "ann,p1,,1,red,33,web,\n")), HasSubstr("orders.csv:3: column 'stars': value ''"));
  EXPECT_THAT(MessageOf(Read(good + "ann,p1,1e99,1,red,33,web,\n")), HasSubstr("column 'stars': value '1e99'"));
  EXPECT_THAT(MessageOf(Read(good + "ann,p1,1,soon,red,33,web,\n")),
              HasSubstr("orders.csv:3: column 'bought': value 'soon': must be Unix seconds"));
  EXPECT_THAT(MessageOf(Read(good + "ann,p1,1,1,red,old,web,\n")),
              HasSubstr("orders.csv:3: column 'age': value 'old': must be a number, or empty"));
  EXPECT_THAT(MessageOf(Read(good + "ann,p1,1\n")), HasSubstr("orders.csv:3: 3 fields; must be 8, as in the header"));
  EXPECT_THAT(MessageOf(Read("")), HasSubstr("orders.csv: holds no interactions"));
  schema_ += "  weight: {feature: number}\n";
  EXPECT_THAT(MessageOf(Read(good)), HasSubstr("orders.csv:1: no column 'weight'; the columns are customer, product"));
}

TEST_F(InteractionsTest, RefusesWrongSchemas) {
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: user}\n"), HasSubstr("exactly one column with `feature: item`"));
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: user}\n  b: {feature: user}\n  c: {feature: item}\n"),
              HasSubstr("exactly one column with `feature: user`"));
  EXPECT_THAT(
      SchemaError("columns:\n  a: {feature: user}\n  b: {feature: item}\n  c: {feature: label}\n  d: {feature: label}\n"),
      HasSubstr("at most one column with `feature: label`"));
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: usr}\n"), HasSubstr("s.yaml:2: key 'columns.a.feature': value 'usr'"));
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: user, lable: x}\n"), HasSubstr("s.yaml:2: key 'columns.a.lable': unknown"));
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: user, level: item}\n"), HasSubstr("s.yaml:2: key 'columns.a.level'"));
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: id, separator: \"|\"}\n"),
              HasSubstr("s.yaml:2: key 'columns.a.separator'"));
  EXPECT_THAT(SchemaError("columns:\n  a: {level: user}\n"), HasSubstr("columns.a"));
  EXPECT_THAT(SchemaError("columns:\n  a: {feature: user}\n  b: {feature: item, name: a}\n"),
              HasSubstr("two columns are named 'a'"));
  EXPECT_THAT(SchemaError("separator: ab\ncolumns:\n  a: {feature: user}\n  b: {feature: item}\n"),
              HasSubstr("s.yaml:1: key 'separator'"));
  EXPECT_THAT(SchemaError("name: x\n"), HasSubstr("columns"));
  EXPECT_THAT(SchemaError("name: [\n"), HasSubstr("s.yaml:2: not YAML"));
  EXPECT_THAT(MessageOf(LoadInteractionsSchema(folder_ / "none.yaml")), HasSubstr("none.yaml"));
}

}  // namespace
}  // namespace marquee
