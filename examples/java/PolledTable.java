import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/**
 * Waits for a call in the table call_transtxt, and prints its text.
 *
 * <pre>JDBC_URL=jdbc:postgresql://db:5432/callscribe DB_PASSWORD=... java -cp postgresql.jar PolledTable.java call.wav</pre>
 *
 * It needs JDK 17 and PostgreSQL's driver. `callscribe database reader` makes the role and sets its password. The program
 * reads by the name of the file. A notification wakes it; it also reads every POLL_SECONDS, because a notification is lost
 * while a connection is broken.
 */
public final class PolledTable {
    private static final String JDBC_URL = setting("JDBC_URL", "jdbc:postgresql://127.0.0.1:5432/callscribe");
    private static final String USER = setting("DB_USER", "callscribe_reader");
    private static final String PASSWORD = setting("DB_PASSWORD", "");
    private static final int POLL_SECONDS = Integer.parseInt(setting("POLL_SECONDS", "10"));
    private static final long PATIENCE_SECONDS = Long.parseLong(setting("PATIENCE_SECONDS", "600"));

    private static final String NEWEST = """
            SELECT id, transcript_status, transcript_text, error_message, audio_duration, notify_status
            FROM call_transtxt WHERE audio_filename = ? ORDER BY id DESC LIMIT 1""";

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1) {
            System.err.println("usage: java -cp postgresql.jar PolledTable.java FILE_NAME");
            System.exit(2);
        }
        try (Connection connection = DriverManager.getConnection(JDBC_URL, USER, PASSWORD)) {
            System.exit(waitFor(arguments[0], connection));
        } catch (SQLException error) {
            System.err.println("The database refused: " + error.getMessage());
            System.exit(1);
        }
    }

    /** Listens before it reads, so that no end is missed between the two. Returns the exit code. */
    private static int waitFor(String fileName, Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("LISTEN callscribe_ended");
        }
        PGConnection listening = connection.unwrap(PGConnection.class);
        long until = System.nanoTime() + PATIENCE_SECONDS * 1_000_000_000L;
        do {
            Integer code = look(fileName, connection);
            if (code != null) {
                return code;
            }
            PGNotification[] ended = listening.getNotifications(POLL_SECONDS * 1000);
            for (PGNotification each : ended == null ? new PGNotification[0] : ended) {
                System.err.println("The call with id " + each.getParameter() + " has ended.");
            }
        } while (System.nanoTime() < until);
        System.err.println(fileName + " has not ended yet.");
        return 1;
    }

    /** Prints the newest call with this file name if it has ended. Returns the exit code, or null to go on waiting. */
    private static Integer look(String fileName, Connection connection) throws SQLException {
        try (PreparedStatement query = connection.prepareStatement(NEWEST)) {
            query.setString(1, fileName);
            try (ResultSet row = query.executeQuery()) {
                if (!row.next()) {
                    return null;
                }
                String status = row.getString("transcript_status");
                if (status.equals("completed")) {
                    System.out.print(row.getString("transcript_text"));
                    return 0;
                }
                if (status.equals("failed")) {
                    System.err.println(row.getLong("id") + ": " + row.getString("error_message"));
                    return 1;
                }
                System.err.println(row.getLong("id") + ": " + status);
                return null;
            }
        }
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
