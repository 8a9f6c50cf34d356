package org.sequencelayers.flink;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * A session that plays a part of a recording.
 *
 * @param session its key
 * @param start the first sample of its first block
 * @param blocks number of its blocks
 * @param next number of the block that comes next
 */
public record ReplaySplit(String session, long start, long blocks, long next)
    implements SourceSplit, Serializable {
  @Override
  public String splitId() {
    return session;
  }

  ReplaySplit advanced() {
    return new ReplaySplit(session, start, blocks, next + 1);
  }

  private void write(DataOutputStream out) throws IOException {
    out.writeUTF(session);
    out.writeLong(start);
    out.writeLong(blocks);
    out.writeLong(next);
  }

  private static ReplaySplit read(DataInputStream in) throws IOException {
    return new ReplaySplit(in.readUTF(), in.readLong(), in.readLong(), in.readLong());
  }

  /** Writes one split. */
  static final class Serializer implements SimpleVersionedSerializer<ReplaySplit> {
    private final ListSerializer list = new ListSerializer();

    @Override
    public int getVersion() {
      return list.getVersion();
    }

    @Override
    public byte[] serialize(ReplaySplit split) throws IOException {
      return list.serialize(List.of(split));
    }

    @Override
    public ReplaySplit deserialize(int version, byte[] serialized) throws IOException {
      return list.deserialize(version, serialized).get(0);
    }
  }

  /** Writes any number of splits. */
  static final class ListSerializer implements SimpleVersionedSerializer<List<ReplaySplit>> {
    @Override
    public int getVersion() {
      return 1;
    }

    @Override
    public byte[] serialize(List<ReplaySplit> splits) throws IOException {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      try (DataOutputStream out = new DataOutputStream(bytes)) {
        out.writeInt(splits.size());
        for (ReplaySplit split : splits) {
          split.write(out);
        }
      }
      return bytes.toByteArray();
    }

    @Override
    public List<ReplaySplit> deserialize(int version, byte[] serialized) throws IOException {
      try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(serialized))) {
        List<ReplaySplit> splits = new ArrayList<>();
        for (int count = in.readInt(); count > 0; --count) {
          splits.add(read(in));
        }
        return splits;
      }
    }
  }
}
