@0xd1f8c36b5a90e247;

# A wrangled data file (dataset/dataset.h): a header of 32 bytes (dataset/dataset_file.h) and then one DataFile as a flat Cap'n
# Proto message, so that a reader maps the file and reads it in place.
#
# Interactions refer to users and items by index. Each column belongs to one of the three and has one value per row of it.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("marquee::file");

struct DataFile {
  name @0 :Text;                 # "ml-1m", "synthetic ml-1m"
  synthetic @1 :Bool;
  users @2 :UInt32;
  items @3 :UInt32;
  ratedItems @4 :UInt32;         # items [0, ratedItems) have interactions, the others have none
  userOf @5 :List(UInt32);       # of each interaction, in the order of the source
  itemOf @6 :List(UInt32);
  label @7 :List(Float32);
  columns @8 :List(Column);      # in the order in which people read the table
  userKey @9 :Text;              # name of the column that identifies users: level user, type id
  itemKey @10 :Text;
}

struct Column {
  enum Level { interaction @0; user @1; item @2; }

  name @0 :Text;
  level @1 :Level;
  dictionary @2 :List(Text);     # of id and ids: the text of each code
  union {
    id @3 :List(UInt32);         # a code per row; 2^32-1 is null
    ids :group {
      offsets @4 :List(UInt64);  # rows + 1 of them; row r holds codes [offsets[r], offsets[r + 1])
      codes @5 :List(UInt32);
    }
    number :group {
      values @6 :List(Float64);  # 0 where null
      valid @7 :List(UInt8);     # 0 = null; empty when nothing is null
    }
  }
}
